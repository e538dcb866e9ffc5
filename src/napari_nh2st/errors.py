"""Errors of a user's input, each with a message fit to be shown as it is."""


class InputError(Exception):
    """Something the user gave cannot be used.

    The message says in one or two sentences what is wrong, where, and what to do. The command
    line prints it on stderr and exits with 2; widgets show it as a notification.
    """


class RemoteError(InputError):
    """A remote file cannot be read now: the network, its server, or another version of it.

    Its data may be good, so it never counts as damage: who reads a part of it stops.
    """


class SegmentError(Exception):
    """One stored segment (tile, strip or chunk) of a slide cannot be read.

    The rest of the slide may be good, so readers of many tiles catch it and go on.
    """


def first_line(error: BaseException) -> str:
    """The first line of what an error says, to stand in a sentence; its kind if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
