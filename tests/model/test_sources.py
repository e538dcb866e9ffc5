"""Models by name, folder or pinned Hub id; and that naming them costs no torch."""

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants, errors
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from napari_nh2st.errors import InputError
from napari_nh2st.model import bundled_models, find_model, load_model, sources
from napari_nh2st.model.folder import save_model_folder
from small_models import small_model

REVISION = "0123456789abcdef0123456789abcdef01234567"


class FakeHub:
    """Stands for the package huggingface_hub."""

    def __init__(self, answer: Path | Exception) -> None:
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self._answer = answer

    def hf_hub_download(self, repository: str, file: str, **options: Any) -> str:
        self.calls.append((repository, file, options))
        if isinstance(self._answer, Exception):
            raise self._answer
        if not (self._answer / file).is_file():
            raise EntryNotFoundError(file)
        return str(self._answer / file)


def put_hub(monkeypatch: pytest.MonkeyPatch, answer: Path | Exception) -> FakeHub:
    hub = FakeHub(answer)
    module = types.ModuleType("huggingface_hub")
    module.hf_hub_download = hub.hf_hub_download  # type: ignore[attr-defined]
    module.errors = errors  # type: ignore[attr-defined]
    module.constants = constants  # type: ignore[attr-defined]
    module.try_to_load_from_cache = lambda *_, **__: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return hub


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_model_folder(small_model(), tmp_path / "small")
    return tmp_path / "small"


@pytest.mark.parametrize(("id_", "revision"), [(f"a/b@{REVISION}", None), ("a/b", REVISION)])
def test_a_pinned_revision_and_nothing_else_is_fetched(
    saved: Path, monkeypatch: pytest.MonkeyPatch, id_: str, revision: str | None
) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    hub = put_hub(monkeypatch, saved)
    model = load_model(id_, revision)
    assert model.source == id_
    assert model.config.name == "small"
    names = ["config.json", "model.safetensors", "heads.safetensors", "encoder.onnx", "README.md"]
    options = {"revision": REVISION, "endpoint": None}
    assert hub.calls == [("a/b", name, options) for name in names]


@pytest.mark.parametrize(
    "id_", ["a/b", "a/b@main", "a/b@v1.0", f"a/b@{REVISION[:-1]}", f"a/b@{REVISION}0"]
)
def test_a_revision_that_can_change_is_refused(
    saved: Path, monkeypatch: pytest.MonkeyPatch, id_: str
) -> None:
    hub = put_hub(monkeypatch, saved)
    with pytest.raises(InputError, match="give owner/name@REVISION"):
        find_model(id_)
    assert not hub.calls


def test_an_unreachable_hub_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    put_hub(monkeypatch, ConnectionError("no route\nto host\nat all"))
    with pytest.raises(InputError, match=r"a/b@0123456789.* could not be fetched .*: no route$"):
        find_model(f"a/b@{REVISION}")


def test_a_file_that_is_not_here_while_the_hub_is_away_is_no_file_that_a_model_lacks(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = put_hub(monkeypatch, saved)
    whole = hub.hf_hub_download

    def download(repository: str, file: str, **options: Any) -> str:
        if file == "model.safetensors":
            raise LocalEntryNotFoundError("no connection")
        return whole(repository, file, **options)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    with pytest.raises(InputError, match=r"could not be fetched from the Hub: no connection$"):
        find_model(f"a/b@{REVISION}")


def test_without_the_extra_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"the Hugging Face Hub needs .*'napari-nh2st\[hub\]'"):
        find_model(f"a/b@{REVISION}")


def test_a_folder_is_taken_before_the_hub(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = put_hub(monkeypatch, ConnectionError())
    monkeypatch.chdir(saved.parent.parent)
    relative = f"{saved.parent.name}/{saved.name}"
    assert find_model(relative) == Path(relative)
    assert load_model(saved).source == str(saved)
    assert not hub.calls


def test_bundled_models_are_known_by_name(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (saved.parent / "models").mkdir()
    saved.rename(saved.parent / "models" / "small")
    monkeypatch.setattr(sources.resources, "files", lambda package: saved.parent)
    assert bundled_models() == {"small": saved.parent / "models" / "small"}
    assert load_model("small").source == "small"
    with pytest.raises(InputError, match=r"There is no model other.*Bundled models: small"):
        find_model("other")


@pytest.mark.parametrize("name", ["other", "/nowhere/at/all", "a/b/c", "./a/b"])
def test_an_unknown_name_is_told(name: str) -> None:
    with pytest.raises(InputError, match=f"There is no model {name}"):
        find_model(name)


def imported_by(statement: str) -> set[str]:
    """Top-level packages in memory after a statement in a fresh interpreter."""
    code = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(found.stdout.split())


def test_models_can_be_named_without_torch() -> None:
    statement = (
        "import napari_nh2st, napari_nh2st.model.config\n"
        "from napari_nh2st.model import bundled_models, read_config\n"
        "bundled_models()"
    )
    assert not {"torch", "napari", "qtpy"} & imported_by(statement)


def test_inference_imports_neither_napari_nor_qt() -> None:
    imported = imported_by(
        "import napari_nh2st.export, napari_nh2st.analysis, napari_nh2st.jobs.child\n"
        "from napari_nh2st.inference import predict\n"
        "from napari_nh2st.training import train"
    )
    assert "torch" in imported
    assert not {"napari", "qtpy", "PyQt6", "PySide6", "magicgui"} & imported


def test_settings_events_analysis_and_export_need_no_torch() -> None:
    imported = imported_by(
        "from napari_nh2st import PredictSettings, TrainSettings, open_slide\n"
        "from napari_nh2st.inference import Started, TilesDone\n"
        "from napari_nh2st.training import EpochDone\n"
        "from napari_nh2st.export import export\n"
        "from napari_nh2st.analysis import find_domains, moran, slide_stain"
    )
    assert "torch" not in imported
