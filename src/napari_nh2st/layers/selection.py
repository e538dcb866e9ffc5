"""Selection of layers, kept while others are added."""

from collections.abc import Iterator
from contextlib import contextmanager

from napari.components import ViewerModel


@contextmanager
def kept_selection(viewer: ViewerModel) -> Iterator[None]:
    """Leave what is selected as it is, although napari selects each layer that is added.

    Nobody hears of it: whoever follows the selected layer would take it for chosen anew.
    """
    selection = viewer.layers.selection
    selected, active = set(selection), selection.active
    with selection.events.blocker_all():
        try:
            yield
        finally:
            selection.active = active
            viewer.layers.selection = selected
