"""The controls of Train: each reaches the settings, and untouched ones mean the defaults."""

import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_nh2st.errors import InputError
from napari_nh2st.model import bundled_models
from napari_nh2st.spots import PanelSettings
from napari_nh2st.training import AugmentationSettings, TrainSettings
from napari_nh2st.widgets.device_picker import DevicePicker
from napari_nh2st.widgets.model_picker import add_model
from napari_nh2st.widgets.train.settings_form import NOT_OFFERED, TrainSettingsForm
from train_studies import start_model

BUNDLED = next(iter(bundled_models()))
DEFAULT = TrainSettings(start=BUNDLED, encoder="frozen")

NUMBERS: dict[str, float] = {
    "patience": 7,
    "batch_size": 12,
    "patch_spots": 5,
    "learning_rate": 2.5e-5,
    "weight_decay": 0.01,
    "warm_up": 0.1,
    "gradient_clip": 0.0,
    "averaging": 0.999,
    "seed": 42,
    "checkpoint_minutes": 0.5,
    "query_weight": 0.3,
    "neighbor_weight": 0.0,
    "mse_weight": 2.0,
    "temperature": 0.07,
    "off_diagonal": 0.2,
    "frozen_looks": 4,
    "tile_px": 96,
    "mpp": 0.75,
    "dim": 64,
    "depth": 2,
    "heads": 4,
    "mlp_ratio": 1.5,
    "hidden": 32,
    "hypergraph_hidden": 48,
    "neighbors": 5,
    "hyperedge_others": 2,
    "dropout": 0.1,
}


@pytest.fixture
def form(qtbot: QtBot) -> TrainSettingsForm:
    form = TrainSettingsForm(DevicePicker(lambda: None))
    qtbot.addWidget(form)
    return form


def pick(box: Any, value: Any) -> None:
    """As a user does it."""
    index = box.findData(value)
    assert index >= 0
    box.setCurrentIndex(index)


def test_untouched_controls_mean_the_defaults(form: TrainSettingsForm) -> None:
    assert form.chosen() == DEFAULT


@pytest.mark.parametrize(("name", "value"), NUMBERS.items())
def test_a_typed_number_arrives(form: TrainSettingsForm, name: str, value: float) -> None:
    form.more[name].setText(str(value))
    assert form.chosen() == replace(DEFAULT, **{name: value})
    form.more[name].clear()
    assert form.chosen() == DEFAULT


CHOICES: dict[str, tuple[Callable[[TrainSettingsForm], None], TrainSettings]] = {
    "epochs": (lambda f: f.epochs.setText("3"), replace(DEFAULT, epochs=3)),
    "last stages": (
        lambda f: pick(f.encoder, "last-stages"),
        replace(DEFAULT, encoder="last-stages"),
    ),
    "whole encoder": (lambda f: pick(f.encoder, "whole"), replace(DEFAULT, encoder="whole")),
    "no start": (lambda f: f.from_random.setChecked(True), TrainSettings(encoder="whole")),
    "architecture": (
        lambda f: pick(f.controls["architecture"], "linear"),
        replace(DEFAULT, architecture="linear"),
    ),
    "context": (lambda f: pick(f.context, "average"), replace(DEFAULT, context="average")),
    "validation": (lambda f: pick(f.validation, "none"), replace(DEFAULT, validation="none")),
    "validated": (
        lambda f: f.set_validated(("A", "B")),
        replace(DEFAULT, validation_sections=("A", "B")),
    ),
    "smoothing": (
        lambda f: pick(f.more["smoothing"], "spcs"),
        replace(DEFAULT, smoothing="spcs"),
    ),
    "stain": (
        lambda f: pick(f.more["stain"], "normalized"),
        replace(DEFAULT, stain="normalized"),
    ),
    "guides and distillation": (
        lambda f: (
            pick(f.controls["architecture"], "triplex"),
            pick(f.more["guides"], "boundary"),
            f.more["distillation"].setText("0.5"),
        ),
        replace(DEFAULT, architecture="triplex", guides="boundary", distillation=0.5),
    ),
    "device": (lambda f: f.device.setCurrentText("cpu"), replace(DEFAULT, device="cpu")),
    "precision": (
        lambda f: pick(f.more["precision"], "bfloat16"),
        replace(DEFAULT, precision="bfloat16"),
    ),
    "head": (lambda f: pick(f.more["head_start"], "ridge"), replace(DEFAULT, head_start="ridge")),
    "panel by mean": (lambda f: pick(f.panel, "mean"), replace(DEFAULT, panel=PanelSettings())),
    "panel of given genes": (
        lambda f: (pick(f.panel, "given"), f.genes.text.setPlainText("VIM, CD74\nEPCAM VIM")),
        replace(DEFAULT, panel=PanelSettings("given", genes=("VIM", "CD74", "EPCAM"))),
    ),
    "panel, all of it": (
        lambda f: (
            pick(f.panel, "spatial"),
            f.n_genes.setText("30"),
            f.more["leave_out_ribosomal"].setChecked(True),
            f.more["leave_out_mitochondrial"].setChecked(True),
        ),
        replace(DEFAULT, panel=PanelSettings("spatial", 30, (), True, True)),
    ),
    "looks": (
        lambda f: (
            f.more["flips"].setChecked(False),
            f.more["quarter_turns"].setChecked(False),
            f.more["stain_jitter"].setText("0"),
        ),
        replace(DEFAULT, augmentation=AugmentationSettings(False, False, 0)),
    ),
}


@pytest.mark.parametrize(("choose", "expected"), CHOICES.values(), ids=CHOICES)
def test_a_choice_arrives_and_is_shown_again(
    form: TrainSettingsForm,
    choose: Callable[[TrainSettingsForm], None],
    expected: TrainSettings,
) -> None:
    choose(form)
    assert form.chosen() == expected
    form.show_settings(None)
    form.set_validated(())
    assert form.chosen() == DEFAULT
    form.show_settings(expected)
    form.set_validated(expected.validation_sections)
    assert form.chosen() == expected


def test_a_start_model_and_encoder_weights_arrive_with_their_whole_path(
    form: TrainSettingsForm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_model(tmp_path / "small")
    monkeypatch.chdir(tmp_path)
    form.start.choose("small")
    assert form.chosen() == replace(DEFAULT, start=str(tmp_path / "small"))
    form.more["encoder_weights"].line.setText("resnet.pt")
    assert form.chosen().encoder_weights == str(tmp_path / "resnet.pt")


def test_every_setting_has_its_control(form: TrainSettingsForm) -> None:
    main = {
        "start",
        "architecture",
        "encoder",
        "context",
        "epochs",
        "validation",
        "panel",
        "device",
    }
    inside = {"augmentation", "validation_sections"}
    offered = main | inside | set(form.more) | set(NOT_OFFERED)
    inner = {f.name for kind in (AugmentationSettings, PanelSettings) for f in fields(kind)}
    assert offered - inner == {field.name for field in fields(TrainSettings)}
    tips = [c.toolTip() for c in (*form.more.values(), form.encoder, form.validation, form.epochs)]
    assert all(tips)


def test_the_encoder_follows_the_start_until_it_is_chosen(form: TrainSettingsForm) -> None:
    form.from_random.setChecked(True)
    assert form.encoder.value() == "whole"
    form.more["encoder_weights"].line.setText("resnet.pt")
    assert form.encoder.value() == "frozen"
    form.more["encoder_weights"].line.setText("")
    assert form.encoder.value() == "whole"
    # One of another library comes with its weights, and stays as it is but for adapters.
    form.more["image_encoder"].show_value("transformers:dinov2")
    form.more["adapter_rank"].show_value(8)
    assert form.chosen().adapter_rank == 8
    form.from_random.setChecked(False)
    pick(form.encoder, "last-stages")
    form.from_random.setChecked(True)
    assert form.encoder.value() == "last-stages"


@pytest.mark.parametrize(
    ("choose", "said"),
    [
        (lambda f: f.epochs.setText("many"), "Epochs is 'many': give a whole number"),
        (lambda f: f.epochs.setText("2.5"), "Epochs is '2.5': give a whole number"),
        (lambda f: f.epochs.setText("0"), "epochs is 0; it must be from 1"),
        (lambda f: f.more["learning_rate"].setText("fast"), "Learning rate is 'fast': give a num"),
        (lambda f: f.more["tile_px"].setText("40"), "multiple of 32"),
        (lambda f: pick(f.panel, "given"), "No genes are given"),
        (lambda f: f.start.name.setCurrentText("no-such-model"), "no model no-such-model"),
        (
            lambda f: (f.from_random.setChecked(True), pick(f.encoder, "frozen")),
            "weights would be random",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    form: TrainSettingsForm, choose: Callable[[TrainSettingsForm], None], said: str
) -> None:
    choose(form)
    with pytest.raises(InputError, match=said):
        form.chosen()


def hidden(form: TrainSettingsForm) -> set[str]:
    return {name for name, c in (form.controls | form.more).items() if c.isHidden()}


def test_what_architecture_and_encoder_do_not_use_is_hidden_and_kept(
    form: TrainSettingsForm,
) -> None:
    architecture, more = form.controls["architecture"], form.more
    assert {"guides", "distillation", "adapter_rank"} < hidden(form)
    assert not {"context", "query_weight", "hypergraph_hidden", "tile_px"} & hidden(form)
    assert more["dim"].placeholderText() == "the start model's"
    pick(form.context, "average")
    more["query_weight"].setText("0.3")
    form.epochs.setText("many")
    pick(architecture, "linear")
    assert {"context", "epochs", "learning_rate", "mse_weight", "guides", "dim"} < hidden(form)
    headings = [label for label, below in form._rest._sections if "weight_decay" in below]
    assert [label.isHidden() for label in headings] == [True]
    assert form.chosen() == replace(DEFAULT, architecture="linear")
    assert not {"context", "epochs"} & form.to_remember().keys()  # what was kept stays
    pick(architecture, "triplex")
    assert not {"guides", "distillation", "epochs"} & hidden(form)
    assert more["dim"].placeholderText() == "64"
    pick(more["guides"], "boundary")
    more["image_encoder"].show_value("features?name=uni&tile_px=224&mpp=0.5")
    assert {"encoder", "stain", "flips", "guides", "tile_px", "mpp", "frozen_looks"} < hidden(form)
    form.epochs.setText("3")
    assert form.chosen() == replace(
        DEFAULT, architecture="triplex", epochs=3, image_encoder=more["image_encoder"].value()
    )
    more["image_encoder"].show_value("transformers:/an/encoder")
    assert not {"adapter_rank", "gradient_checkpointing", "mpp"} & hidden(form)
    more["image_encoder"].show_value(None)
    assert form.chosen() == replace(DEFAULT, architecture="triplex", epochs=3, guides="boundary")
    pick(architecture, None)
    assert form.chosen() == replace(DEFAULT, context="average", query_weight=0.3, epochs=3)


def test_genes_are_read_from_a_file(
    form: TrainSettingsForm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "genes.txt").write_text("VIM\nCD74\n", encoding="utf-8")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (f"{tmp_path}/genes.txt", ""))
    pick(form.panel, "given")
    form.genes.from_file.click()
    assert form.chosen().panel == PanelSettings("given", genes=("VIM", "CD74"))


MEASURED = {"A": {"ERBB2", "EPCAM", "VIM", "CD74", "KRT8"}, "B": {"ERBB2", "EPCAM", "VIM", "CD4"}}


def test_genes_that_are_not_in_every_section_are_told_with_the_nearest(
    form: TrainSettingsForm,
) -> None:
    pick(form.panel, "given")
    genes = form.genes
    genes.text.setPlainText("ERB2, vim, KRT8; EPCAM QQQ")
    assert genes.problem() is None  # nothing is known of any section yet
    form.set_sections(MEASURED)
    assert genes.unknown() == ("ERB2", "KRT8", "QQQ")
    assert genes.value() == ("ERB2", "VIM", "KRT8", "EPCAM", "QQQ")
    assert genes.problem() == (
        "Not every section has these genes of the panel: ERB2 (nearest ERBB2), KRT8 (not in B), "
        "QQQ. Correct them, or press “Leave them out”."
    )
    assert genes.note.text().startswith("2 of 5 genes are in all 2 sections<br><b>ERB2</b>: not k")
    assert not genes.note.isHidden()
    assert not genes.leave_out.isHidden()
    genes.leave_out.click()
    assert form.chosen().panel == PanelSettings("given", genes=("VIM", "EPCAM"))
    assert genes.problem() is None
    assert genes.leave_out.isHidden()


def test_a_click_on_the_nearest_name_takes_it(form: TrainSettingsForm) -> None:
    form.set_sections({"A": MEASURED["A"]})
    form.genes.text.setPlainText("ERB2, ERB2X\nVIM")
    form.genes.show_match()
    (link,) = re.findall('href="(ERB2 [^"]*)"', form.genes.note.text())
    form.genes.note.linkActivated.emit(link)
    assert form.genes.text.toPlainText() == "ERBB2, ERB2X\nVIM"
    assert form.genes.unknown() == ("ERB2X",)


def test_the_note_follows_the_typing(qtbot: QtBot, form: TrainSettingsForm) -> None:
    form.set_sections(MEASURED)
    form.genes.text.setPlainText("VIM, EPCAMM")
    qtbot.waitUntil(lambda: "nearest" in form.genes.note.text())
    assert "1 of 2 genes" in form.genes.note.text()


def test_what_was_chosen_is_kept_for_the_next_session(
    form: TrainSettingsForm, tmp_path: Path
) -> None:
    assert form.to_remember()["encoder"] == ""  # it follows the start
    start = start_model(tmp_path / "mine")
    form.start.choose(start)
    pick(form.encoder, "whole")
    pick(form.context, "average")
    pick(form.validation, "section")
    form.epochs.setText("9")
    form.device.setCurrentText("cpu")
    kept, chosen = form.to_remember(), form.chosen()
    assert "validation" not in (form.set_validated(("A",)), form.to_remember())[1]
    form.set_validated(())
    form.restore(lambda name, default: default)
    assert form.chosen() == DEFAULT
    form.restore(kept.get)
    assert form.chosen() == chosen
    form.from_random.setChecked(True)
    form.restore(form.to_remember().get)
    assert form.from_random.isChecked()


def test_what_was_kept_and_is_not_there_any_more_is_not_chosen(form: TrainSettingsForm) -> None:
    gone = {"start": "/gone", "encoder": "new", "context": "new", "validation": "new"}
    form.restore(gone.get)
    assert form.chosen() == DEFAULT


def test_tooltips_reach_what_is_typed_into(form: TrainSettingsForm) -> None:
    weights = form.more["encoder_weights"]
    assert weights.line.toolTip() == weights.toolTip() != ""
    assert form.start.name.lineEdit().toolTip()
    assert form.folded.toggleButton().toolTip()


def test_only_what_matters_for_the_panel_is_shown(form: TrainSettingsForm) -> None:
    shown = []
    for rule in (None, "mean", "given"):
        pick(form.panel, rule)
        shown.append((form.n_genes.isHidden(), form.genes.isHidden()))
    assert shown == [(True, True), (False, True), (True, False)]


def test_defaults_come_back(form: TrainSettingsForm) -> None:
    form.more["seed"].setText("3")
    form.epochs.setText("4")
    form.from_random.setChecked(True)
    form.trust_positions.setChecked(True)
    form.reset.click()
    assert form.chosen() == DEFAULT
    assert not form.trust_positions.isChecked()


def test_a_model_that_is_trained_elsewhere_is_offered(
    form: TrainSettingsForm, tmp_path: Path
) -> None:
    folder = start_model(tmp_path / "mine")
    add_model(Path(folder))
    assert form.start.name.findData(folder) >= 0
    assert form.chosen() == DEFAULT


def test_the_wheel_over_a_list_changes_nothing(qtbot: QtBot, form: TrainSettingsForm) -> None:
    pick(form.validation, "section")
    down = QWheelEvent(
        QPointF(5, 5),
        QPointF(5, 5),
        QPoint(0, -120),
        QPoint(0, -120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(form.validation, down)
    assert form.validation.value() == "section"


@pytest.mark.parametrize(
    ("text", "expected", "said"),
    [
        ("learning_rate = 1e-3\nn_genes = 40\nepochs = 7", {"learning_rate": 1e-3, "epochs": 7}, 0),
        ("mse_weight = 0\nquery_weight = 0\nneighbor_weight = 0", {}, 1),  # nothing to train
    ],
)
def test_the_form_begins_with_the_users_configuration(
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    expected: dict[str, Any],
    said: int,
) -> None:
    (tmp_path / "own.toml").write_text(f"[train]\n{text}\n", encoding="utf-8")
    monkeypatch.setenv("NH2ST_CONFIG", str(tmp_path / "own.toml"))
    sentences: list[str] = []
    monkeypatch.setattr("napari_nh2st.session.remembered.show_warning", sentences.append)
    form = TrainSettingsForm(DevicePicker(lambda: None))
    qtbot.addWidget(form)
    form.restore(lambda _key, default: default)
    assert form.chosen() == replace(DEFAULT, **expected)
    assert len(sentences) == said  # once, though the form begins with it twice
    assert all("[train]: " in sentence for sentence in sentences)
