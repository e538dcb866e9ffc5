"""napari's notifications, which show a text as it is."""

from napari.utils import notifications

from napari_nh2st.shown_text import for_qt


def show_info(message: str) -> None:
    """Show a message that needs nothing to be done."""
    notifications.show_info(for_qt(message))


def show_warning(message: str) -> None:
    """Show a message that is to be minded."""
    notifications.show_warning(for_qt(message))


def show_error(message: str) -> None:
    """Show a message about what could not be done."""
    notifications.show_error(for_qt(message))
