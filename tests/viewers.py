"""Viewers without a window: a model, and the same as napari gives it to a plugin's widget."""

from collections.abc import Callable

from napari.components import ViewerModel
from napari.utils._proxies import PublicOnlyProxy


def docked_viewer() -> ViewerModel:
    """What a dock widget gets: it wraps each layer anew whenever it is asked for one."""
    viewer: ViewerModel = PublicOnlyProxy(ViewerModel())
    return viewer


VIEWERS: dict[str, Callable[[], ViewerModel]] = {"model": ViewerModel, "docked": docked_viewer}
