"""Measured ST in a session: shown whichever docks are open, without Qt."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anndata import AnnData
from napari.components import ViewerModel
from napari.layers import Points

from compared_sections import MPP, DrawnSection, write_section
from drawn_predictions import drawn_spot_prediction
from napari_nh2st.export import write_anndata
from napari_nh2st.layers.expression import read_expression
from napari_nh2st.layers.reader import read_slide
from napari_nh2st.session import Session
from napari_nh2st.session.comparison import ComparisonResults
from napari_nh2st.session.measured_section import MeasuredSection
from napari_nh2st.slide import open_slide
from napari_nh2st.spots.measured import read_measured, target_of
from small_configs import PANEL


@pytest.fixture
def section(tmp_path: Path) -> DrawnSection:
    return write_section(tmp_path)


def open_slide_of(viewer: ViewerModel, section: DrawnSection) -> Any:
    ((data, attributes, _),) = read_slide(section.slide, mpp=MPP)
    return viewer.add_image(data, **attributes)


def points(viewer: ViewerModel) -> list[str]:
    return [layer.name for layer in viewer.layers if isinstance(layer, Points)]


def test_measured_st_goes_and_comes_with_its_slide(
    viewer: ViewerModel, section: DrawnSection
) -> None:
    layer, session = open_slide_of(viewer, section), Session.of(viewer)
    changes: list[None] = []
    session.measured.changed.connect(lambda: changes.append(None))
    with open_slide(section.slide, mpp=MPP) as slide:
        measured = read_measured(section.expression, None, slide)
        st = MeasuredSection.of_spots(session, slide, measured)
    st.set_target(target_of(measured.spots, PANEL), PANEL, {"CD74": 0.5})
    assert points(viewer) == [], "it lies on no slide yet"
    session.measured.add(st, layer)
    assert points(viewer) == ["measured · CD74"], "the most reliable gene first"
    assert len(changes) == 1
    st.layers.show_gene("VIM")
    viewer.layers.remove(layer)
    assert points(viewer) == []
    assert st.slide_layer is None
    assert st.slide_name == "S1"
    assert session.measured.current is st
    open_slide_of(viewer, section)
    assert points(viewer) == ["measured · VIM"]
    assert len(changes) == 3
    session.measured.remove()
    assert points(viewer) == []
    viewer.layers.clear()
    open_slide_of(viewer, section)
    assert points(viewer) == []


def test_measured_st_goes_over_to_the_other_layer_of_a_slide_that_is_open_twice(
    viewer: ViewerModel, section: DrawnSection
) -> None:
    layer, session = open_slide_of(viewer, section), Session.of(viewer)
    other = open_slide_of(viewer, section)
    other.translate = (0, 5000)
    with open_slide(section.slide, mpp=MPP) as slide:
        measured = read_measured(section.expression, None, slide)
        st = MeasuredSection.of_spots(session, slide, measured)
    st.set_target(target_of(measured.spots, PANEL), PANEL, {"CD74": 0.5})
    session.measured.add(st, layer)
    (spots,) = (each for each in viewer.layers if isinstance(each, Points))
    viewer.layers.remove(layer)
    assert spots in viewer.layers
    assert st.slide_layer == other
    np.testing.assert_allclose(spots.translate[-2:], other.translate[-2:])
    other.translate = (0, 0)
    np.testing.assert_allclose(spots.translate[-2:], (0, 0), err_msg="it follows this one")
    viewer.layers.remove(other)
    assert points(viewer) == []


@pytest.fixture
def compared(section: DrawnSection) -> AnnData:
    """A comparison that holds no scores, beside its slide."""
    with open_slide(section.slide, mpp=MPP) as slide:
        return drawn_spot_prediction(slide)


def test_a_comparison_from_a_file_is_the_current_section_without_a_dock(
    viewer: ViewerModel, compared: AnnData, tmp_path: Path
) -> None:
    write_anndata(compared, tmp_path / "compared.h5ad")
    session = Session.of(viewer)
    for data, attributes, kind in read_expression(tmp_path / "compared.h5ad"):
        getattr(viewer, f"add_{kind}")(data, **attributes)
    section = session.measured.current
    assert section is not None
    assert section.results is None
    assert set(section.layers.layers) == {"measured", "predicted"}
    assert section.slide_layer == viewer.layers["S1"]
    assert section.prediction is not None
    section.set_results(ComparisonResults.of_prediction(section.prediction))
    gene = section.table["gene"].iloc[0]
    assert points(viewer) == [f"measured · {gene}", f"predicted · {gene}"]
    assert section.layers.kind == "predicted"
    section.layers.show_kind("residual")
    assert points(viewer)[-1] == f"residual · {gene}"
    # A session that begins later finds the layers that are there.
    other = ViewerModel()
    for data, attributes, kind in read_expression(tmp_path / "compared.h5ad"):
        getattr(other, f"add_{kind}")(data, **attributes)
    assert Session.of(other).measured.current is not None
