"""Files of a comparison: exported and opened, reports and figures."""

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot

from compare_docks import in_both_viewers, load, open_slide_of, points, wait_until_read
from compared_sections import DrawnSection, write_section
from napari_nh2st.export import write_anndata
from napari_nh2st.layers.expression import read_expression
from napari_nh2st.widgets.compare import scatter as compare_scatter
from napari_nh2st.widgets.compare.widget import CompareWidget


@in_both_viewers
def test_an_exported_comparison_that_is_opened_is_taken_up(
    qtbot: QtBot, viewer: ViewerModel, done: CompareWidget, tmp_path: Path
) -> None:
    assert done.compared is not None
    write_anndata(done.compared.prediction, tmp_path / "out.h5ad")
    place = points(viewer)["measured"].data_to_world((30.0, 40.0))
    summary = done.view.summary.text()
    done.remove()
    viewer.layers.clear()
    for data, attributes, kind in read_expression(tmp_path / "out.h5ad"):
        getattr(viewer, f"add_{kind}")(data, **attributes)
    qtbot.waitUntil(lambda: done.compared is not None, timeout=30_000)
    assert done.view.summary.text() == summary
    layers = points(viewer)
    assert set(layers) == {"measured", "predicted"}
    np.testing.assert_allclose(layers["measured"].data_to_world((30.0, 40.0)), place)
    done.show_gene("CD74")
    done.view.kinds["residual"].click()
    assert points(viewer)["residual"].features.columns.tolist() == ["CD74"]
    assert done.view.report.isEnabled()


@in_both_viewers
def test_a_comparison_that_is_opened_is_shown_at_once_beside_other_st(
    qtbot: QtBot, viewer: ViewerModel, done: CompareWidget, tmp_path: Path
) -> None:
    assert done.compared is not None
    write_anndata(done.compared.prediction, tmp_path / "out.h5ad")
    summary, first = done.view.summary.text(), done.section
    other = write_section(tmp_path, "S2")
    viewer.layers.selection.active = open_slide_of(viewer, other)
    load(qtbot, done, other)
    loaded = done.section
    assert loaded is not first
    assert "S2.h5ad" in done.measured.source.summary.text()
    measured = points(viewer)["measured"]
    for data, attributes, kind in read_expression(tmp_path / "out.h5ad"):
        getattr(viewer, f"add_{kind}")(data, **attributes)
    qtbot.waitUntil(lambda: done.compared is not None, timeout=30_000)
    opened = done.section
    assert opened.slide_layer == viewer.layers["S1 [1]"], "the file's own"
    assert done.view.summary.text() == summary
    assert done.view.scatter.isVisibleTo(done)
    assert measured in viewer.layers
    # Selecting a layer of either brings that back.
    viewer.layers.selection.active = measured
    assert done.section is loaded
    assert "S2.h5ad" in done.measured.source.summary.text()
    assert done.view.summary.text() == ""
    assert not done.view.scatter.isVisibleTo(done)
    viewer.layers.selection.active = points(viewer)["predicted"]
    assert done.section is opened
    assert done.view.summary.text() == summary
    done.remove()
    assert done.section is loaded
    assert measured in viewer.layers
    assert set(points(viewer)) == {"measured"}


def test_no_report_is_written_while_other_st_is_read(
    qtbot: QtBot, done: CompareWidget, section: DrawnSection, tmp_path: Path,
    messages: dict[str, list[str]],
) -> None:  # fmt: skip
    done.load(section.expression)
    done.write_report(tmp_path / "report")
    assert "still being read" in messages["error"][0]
    assert not done.is_running
    wait_until_read(qtbot, done)
    assert done.section.measured is not None
    assert done.compared is None


def test_the_report_and_the_table_are_written(
    qtbot: QtBot, done: CompareWidget, tmp_path: Path, messages: dict[str, list[str]]
) -> None:
    folder = tmp_path / "report"
    done.write_report(folder)
    assert not done.controls.run.isEnabled()
    assert not done.controls.cancel.isEnabled(), "half a folder is of no use"
    done.stop()
    qtbot.waitUntil(lambda: not done.is_running, timeout=60_000)
    assert messages["info"] == [f"Wrote {folder}"]
    assert (folder / "summary.json").exists()
    done.write_report(folder)
    qtbot.waitUntil(lambda: not done.is_running, timeout=60_000)
    assert "already exists" in messages["error"][0]


def test_the_scatter_is_saved_and_not_over_what_is_there(
    monkeypatch: pytest.MonkeyPatch, done: CompareWidget, tmp_path: Path
) -> None:
    texts: list[str] = []
    for kind in ("error", "info"):
        monkeypatch.setattr(compare_scatter, f"show_{kind}", texts.append)
    path = tmp_path / "gene.svg"
    done.view.scatter.save(path)
    assert path.read_text(encoding="utf-8").startswith("<?xml")
    done.view.scatter.save(path)
    done.view.scatter.save(tmp_path / "gene.xyz")
    assert texts[0] == f"Wrote {path}"
    assert "already exists" in texts[1]
    assert "must end in" in texts[2]
