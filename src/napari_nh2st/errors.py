"""Errors in a user's input, each with a message that can be shown as it is."""


class InputError(Exception):
    """Something that the user gave cannot be used.

    The message says in one or two sentences what is wrong, where, and what to do. The command
    line prints it on stderr and exits with 2; widgets show it as a notification.
    """


class RemoteError(InputError):
    """A remote file cannot be read now: the network or server failed, or the file has changed.

    Its data may be good, so this never counts as damage: whatever is reading the file stops.
    """


class SegmentError(Exception):
    """One stored segment (tile, strip or chunk) of a slide cannot be read.

    The rest of the slide may be good, so readers of many tiles catch it and go on.
    """


def first_line(error: BaseException) -> str:
    """The first line of an error's message, to be part of a sentence; its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
