"""*Export…*: what is chosen in the dialog reaches the core."""

import threading
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from napari.components import ViewerModel
from napari.layers import Layer
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QFileDialog

from array_slides import ArrayLevel, array_slide, textured
from drawn_predictions import drawn_prediction
from gene_predictions import add_heatmap, gene_prediction
from napari_nh2st.analysis.named_domains import NamedDomains
from napari_nh2st.errors import InputError
from napari_nh2st.export import FORMATS, write_anndata
from napari_nh2st.export.figure import FigureSettings
from napari_nh2st.layers.expression import read_expression
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.session import Session
from napari_nh2st.session.connections import Connections
from napari_nh2st.widgets import export_button
from napari_nh2st.widgets.export_button import ExportButton, PredictionExport


@pytest.fixture(scope="module")
def prediction() -> AnnData:
    return drawn_prediction(array_slide(ArrayLevel(textured(300, 420)), path="section.tif"))


@pytest.fixture
def button(qtbot: QtBot, prediction: AnnData) -> ExportButton:
    button = ExportButton()
    qtbot.addWidget(button)
    button.offer(prediction, "section")
    return button


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What arrived in the core."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def remember(prediction: AnnData, path: Path, **options: Any) -> None:
        calls.append((path.name, options))

    monkeypatch.setattr(export_button, "export", remember)
    return calls


def answer(monkeypatch: pytest.MonkeyPatch, folder: Path, format: str, typed: str) -> list[str]:
    """Choose a format in the dialog and type a name; gives the names that the dialog offered."""
    offered: list[str] = []

    def accept(dialog: QFileDialog) -> int:
        dialog.setOption(QFileDialog.Option.DontUseNativeDialog)
        offered.extend(dialog.nameFilters())
        (chosen,) = (f for f in dialog.nameFilters() if f.endswith(f"(*{format})"))
        dialog.selectNameFilter(chosen)
        dialog.filterSelected.emit(chosen)  # as when a user does it
        dialog.setDirectory(str(folder))
        dialog.selectFile(str(folder / typed))
        return 1

    monkeypatch.setattr(QFileDialog, "exec", accept)
    return offered


def test_every_format_is_offered(
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    button: ExportButton,
    exported: list[Any],
    messages: dict[str, list[str]],
) -> None:
    monkeypatch.setattr(export_button, "find_spec", lambda _package: None)
    offered = answer(monkeypatch, tmp_path, ".csv", "a")
    button.click()
    qtbot.waitUntil(lambda: bool(messages["info"]), timeout=20_000)
    assert len(offered) == len(FORMATS)
    for known, shown in zip(FORMATS, offered, strict=True):
        lacks = ", not installed: needs the extra spatialdata" * (known.name == "spatialdata")
        assert shown == f"{known.title}{lacks} (*{known.suffix})"


@pytest.mark.parametrize(
    ("chosen", "typed", "written", "format", "overwrite"),
    [
        (".geojson", "a", "a.geojson", "geojson", True),
        (".spatialdata.zarr", "a", "a.spatialdata.zarr", "spatialdata", True),
        (".spatialdata.zarr", "a.zarr", "a.zarr", "spatialdata", True),
        (".zarr", "a.ome.zarr", "a.ome.zarr", "ome-zarr", True),
        (".h5ad", "a.png", "a.png", "png", True),
        # Names that the dialog could not know will be written, and did not ask about:
        (".csv", "a.txt", "a.txt.csv", "csv", False),
    ],
)
def test_the_chosen_format_and_the_typed_name_reach_the_core(
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    button: ExportButton,
    exported: list[tuple[str, dict[str, Any]]],
    messages: dict[str, list[str]],
    chosen: str,
    typed: str,
    written: str,
    format: str,
    overwrite: bool,
) -> None:
    answer(monkeypatch, tmp_path, chosen, typed)
    button.click()
    qtbot.waitUntil(lambda: bool(messages["info"]), timeout=20_000)
    ((name, options),) = exported
    assert (name, options["format"], options["overwrite"]) == (written, format, overwrite)
    assert options["genes"] is None
    assert options["figure"] is None
    assert messages == {"error": [], "warning": [], "info": [f"Wrote {tmp_path / written}"]}


def test_a_figure_shows_the_genes_and_the_contrast_of_now(
    qtbot: QtBot,
    tmp_path: Path,
    button: ExportButton,
    exported: list[tuple[str, dict[str, Any]]],
    messages: dict[str, list[str]],
) -> None:
    settings = [FigureSettings(limits={"VIM": (0, 1)}), FigureSettings(limits={"VIM": (0, 2)})]
    waiting = list(settings)
    button.set_figure(lambda: (waiting.pop(0), ("VIM", "CD74")))
    for number, name in enumerate(("a.png", "b.svg", "c.csv"), 1):
        button.write(tmp_path / name)
        qtbot.waitUntil(lambda n=number: len(messages["info"]) == n, timeout=20_000)
    genes = [options["genes"] for _, options in exported]
    assert genes == [("VIM", "CD74"), ("VIM", "CD74"), None]
    assert [options["figure"] for _, options in exported] == [*settings, None]


def test_what_is_wrong_is_a_sentence_and_the_button_stays_of_use(
    qtbot: QtBot, tmp_path: Path, button: ExportButton, messages: dict[str, list[str]]
) -> None:
    def nothing_is_shown() -> Any:
        raise InputError("No gene is shown.")

    button.write(tmp_path / "a.loom")
    assert "must end in one of .h5ad" in messages["error"].pop()
    button.set_figure(nothing_is_shown)
    button.write(tmp_path / "a.png")
    assert messages["error"].pop() == "No gene is shown."
    button.write(tmp_path / "no" / "a.csv")
    assert not button.isEnabled()
    qtbot.waitUntil(button.isEnabled, timeout=20_000)
    assert "there is no folder" in messages["error"].pop()
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_not_replaced_since_the_dialog_does_not_ask_about_folders(
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    button: ExportButton,
    messages: dict[str, list[str]],
) -> None:
    write_anndata(AnnData(np.ones((2, 2), np.float32)), tmp_path / "a.zarr")
    monkeypatch.setattr(QFileDialog, "selectedFiles", lambda _: [str(tmp_path / "a.zarr")])
    answer(monkeypatch, tmp_path, ".zarr", "a.zarr")
    button.click()
    qtbot.waitUntil(lambda: bool(messages["error"]), timeout=20_000)
    assert "already exists" in messages["error"][0]
    assert anndata.read_zarr(tmp_path / "a.zarr").shape == (2, 2)


def test_a_prediction_opened_from_a_file_is_exported_with_its_figure(
    qtbot: QtBot,
    tmp_path: Path,
    prediction: AnnData,
    exported: list[tuple[str, dict[str, Any]]],
    messages: dict[str, list[str]],
) -> None:
    write_anndata(prediction, tmp_path / "made.h5ad")
    viewer = ViewerModel()
    session, connections = Session.of(viewer), Connections()
    button = PredictionExport(session, connections)
    connections.open()
    qtbot.addWidget(button)
    assert not button.isEnabled()
    for data, attributes, kind in read_expression(tmp_path / "made.h5ad"):
        getattr(viewer, f"add_{kind}")(data, **attributes)
    assert button.isEnabled()
    assert session.heatmap is not None
    session.heatmap.gene = "VIM"
    button.write(tmp_path / "a.png")
    qtbot.waitUntil(lambda: bool(messages["info"]), timeout=20_000)
    ((_, options),) = exported
    assert options["genes"] == ("VIM",)
    assert options["figure"].opacity == pytest.approx(0.7)
    viewer.layers.clear()
    assert not button.isEnabled()


def test_limits_set_by_hand_are_there_when_the_file_is_opened_again(
    qtbot: QtBot, viewer: ViewerModel, prediction: AnnData, tmp_path: Path
) -> None:
    connections = Connections()
    button = PredictionExport(Session.of(viewer), connections)
    qtbot.addWidget(button)
    connections.open()
    heatmap = add_heatmap(viewer, prediction.copy(), prediction.var_names[1])
    for limits in ((0.1, 0.2), None):
        if limits is None:
            heatmap.gene = prediction.var_names[0]  # limits follow the values of another gene
            expected = heatmap.layer.contrast_limits
        else:
            heatmap.layer.contrast_limits = expected = list(limits)
        button.write(tmp_path / "out.h5ad", overwrite=True)
        qtbot.waitUntil(button.isEnabled)
        opened = Heatmap(Layer.create(*read_expression(tmp_path / "out.h5ad")[-1]))
        assert opened.gene == heatmap.gene
        assert opened.layer.contrast_limits == pytest.approx(expected)
        assert opened.image.follows == (limits is None)
    connections.close()


def test_it_is_disabled_without_a_prediction_and_while_one_fills(
    qtbot: QtBot, prediction: AnnData, messages: dict[str, list[str]]
) -> None:
    button = ExportButton()
    qtbot.addWidget(button)
    assert not button.isEnabled()
    button.write(Path("a.csv"))
    assert messages["error"] == ["There is no prediction to export yet."]
    button.set_filling(True)
    button.offer(prediction, "section")
    assert not button.isEnabled()
    button.set_filling(False)
    assert button.isEnabled()


def test_a_map_without_a_value_is_not_exported_and_the_tooltip_says_so(
    qtbot: QtBot, viewer: ViewerModel
) -> None:
    connections = Connections()
    session = Session.of(viewer)
    button = PredictionExport(session, connections)
    qtbot.addWidget(button)
    connections.open()
    assert button.toolTip() == "There is no prediction to export yet"
    heatmap = add_heatmap(viewer, gene_prediction(filled=False))
    heatmap.is_filling = True
    heatmap.is_filling = False  # the run was stopped before its first tile
    assert not button.isEnabled()
    assert "No tile has a value" in button.toolTip()
    heatmap.is_filling = True
    heatmap.prediction.X[3] = 1.0
    heatmap.is_filling = False
    assert button.isEnabled()
    for format in ("AnnData", "SpatialData", "QuPath", "Vitessce", "CSV", "OME-Zarr", "figure"):
        assert format in button.toolTip()
    connections.close()


def test_domains_renamed_while_a_file_is_written_do_not_reach_it(
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    messages: dict[str, list[str]],
) -> None:
    prediction = drawn_prediction(array_slide(ArrayLevel(textured(300, 420)), path="section.tif"))
    labels = np.arange(prediction.n_obs) % 2 + 1
    markers = pd.DataFrame({"domain": [1, 2], "gene": ["CD74", "VIM"], "score": [1.0, 0.5]})
    domains = NamedDomains(labels, ("a", "b"), markers)
    domains.write(prediction)
    begun, renamed = threading.Event(), threading.Event()
    export = export_button.export

    def slow_export(*arguments: Any, **options: Any) -> None:
        begun.set()
        assert renamed.wait(20)
        export(*arguments, **options)

    monkeypatch.setattr(export_button, "export", slow_export)
    button = ExportButton()
    qtbot.addWidget(button)
    button.offer(prediction, "section")
    button.write(tmp_path / "a.h5ad")
    assert begun.wait(20)
    domains.renamed(1, "tumor").write(prediction)
    renamed.set()
    qtbot.waitUntil(lambda: bool(messages["info"]), timeout=20_000)
    written = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert list(written.obs["domain"].cat.categories) == ["a", "b"]
    assert list(written.uns["nh2st"]["domain_markers"]["domain"]) == ["a", "b"]
