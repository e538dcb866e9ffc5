"""The Compare dock in tests: a slide is opened, ST loaded, and a comparison run."""

from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Points
from napari.utils._proxies import PublicOnlyProxy
from pytestqt.qtbot import QtBot

from compared_sections import MPP, DrawnSection
from local_jobs import LocalJobs
from napari_nh2st.layers.reader import read_slide
from napari_nh2st.widgets.compare.widget import CompareWidget

in_both_viewers = pytest.mark.parametrize(
    "viewer", [lambda viewer: viewer, PublicOnlyProxy], ids=["plain", "proxy"], indirect=True
)
"""A dock gets a proxy, in which the same layer is not always the same object."""


def open_slide_of(viewer: ViewerModel, section: DrawnSection, mpp: float | None = MPP) -> Image:
    ((data, attributes, _),) = read_slide(section.slide, mpp=mpp)
    return viewer.add_image(data, **attributes)


def load(qtbot: QtBot, widget: CompareWidget, section: DrawnSection) -> None:
    widget.load(section.expression)
    wait_until_read(qtbot, widget)


def wait_until_read(qtbot: QtBot, widget: CompareWidget) -> None:
    qtbot.waitUntil(lambda: not widget.measured.is_reading, timeout=30_000)


def run(qtbot: QtBot, widget: CompareWidget) -> None:
    widget.controls.run.click()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=60_000)


def of_panel(panel: tuple[str, ...]) -> SimpleNamespace:
    """As much of a model's config as measured values need."""
    return SimpleNamespace(panel=panel, reliability=None)


def points(viewer: ViewerModel) -> dict[str, Points]:
    """The points layers by what they show."""
    found = [layer for layer in viewer.layers if isinstance(layer, Points)]
    return {layer.name.partition(" · ")[0]: layer for layer in found}


def in_place(layer: Points) -> bool:
    """Whether the first spot lies where it was drawn, (x, y) = (18.5, 20)."""
    return bool(np.allclose(layer.data[0], (19.5, 18.0)))


def jobs_of(widget: CompareWidget) -> LocalJobs:
    assert widget.process is not None
    jobs = widget.process.ready()
    assert isinstance(jobs, LocalJobs)
    return jobs
