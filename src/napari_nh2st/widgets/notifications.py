"""napari's notifications, which show a text as it is."""

from collections.abc import Iterable

from napari.utils import notifications

from napari_nh2st.shown_text import for_qt


def show_info(message: str) -> None:
    """Show a message that needs nothing to be done."""
    notifications.show_info(for_qt(message))


def show_warning(message: str) -> None:
    """Show a message that is to be minded."""
    notifications.show_warning(for_qt(message))


def show_warnings(messages: Iterable[str]) -> None:
    """Show messages that are to be minded, one after the other."""
    for message in messages:
        show_warning(message)


def show_error(message: str) -> None:
    """Show a message about what could not be done."""
    notifications.show_error(for_qt(message))
