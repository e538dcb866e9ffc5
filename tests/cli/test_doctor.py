"""``nh2st doctor``: what is installed, what is missing, and the line that mends it."""

import json
from pathlib import Path

import pytest

from command_results import Nh2st
from napari_nh2st.cli import doctor


def lack(monkeypatch: pytest.MonkeyPatch, *lacking: str) -> None:
    """Make packages seem not to be installed."""
    found = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in lacking else found(name))


def test_a_whole_installation_is_listed(nh2st: Nh2st, own_cache: Path) -> None:
    result = nh2st("doctor", "--json")
    assert (result.code, result.err) == (0, "")
    found = json.loads(result.out)
    assert found["versions"].keys() >= {"napari-nh2st", "Python", "system", "torch", "napari"}
    assert "threads" in found["devices"]["cpu"]
    assert found["codecs"]["imagecodecs"] == "complete"
    # With a display or without, it is said, and nothing ends with it.
    assert found["display"]["OpenGL"]
    assert found["folders"]["cache"].startswith(f"{own_cache}, ")
    assert found["extras"]["napari"] == "installed"
    assert "dependencies" not in found


def test_what_is_missing_has_the_line_that_installs_it(
    nh2st: Nh2st, monkeypatch: pytest.MonkeyPatch
) -> None:
    lack(monkeypatch, "openslide-python", "napari")
    result = nh2st("doctor")
    assert result.code == 0, "an extra is nobody's need"
    assert "pip install 'napari-nh2st[openslide]'  # openslide-python" in result.out
    assert "not needed without napari: pip install 'napari-nh2st[napari]'" in result.out
    lack(monkeypatch, "napari", "tifffile", "torch")
    result = nh2st("doctor")
    assert result.code == 1
    lines = [line.split(maxsplit=1) for line in result.out.splitlines() if "--upgrade" in line]
    missing = "missing; pip install --upgrade napari-nh2st"
    assert lines == [["tifffile", missing], ["torch", missing]]


@pytest.mark.parametrize(
    ("none_is_counted", "version", "is_warned"),
    [
        (True, "6.12.0", True),
        (True, "6.12.1", False),
        (True, None, False),
        (False, "6.12.0", False),
    ],
)
def test_a_qt_that_ends_python_has_the_line_that_installs_another(
    nh2st: Nh2st,
    monkeypatch: pytest.MonkeyPatch,
    none_is_counted: bool,
    version: str | None,
    is_warned: bool,
) -> None:
    monkeypatch.setattr(doctor, "_opengl", lambda: "not asked")
    monkeypatch.setattr(doctor, "_SHOWN", ("PySide6",))
    found = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda n: version if n == "PySide6" else found(n))
    monkeypatch.setattr(doctor, "_NONE_IS_COUNTED", none_is_counted)
    rows = json.loads(nh2st("doctor", "--json").out)["versions"]
    assert rows.get("PySide6", "").startswith(version or "")
    assert ("pip install 'PySide6!=6.12.0'" in rows.get("PySide6", "")) is is_warned


def test_a_cache_that_cannot_be_written_is_said(
    nh2st: Nh2st, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lack(monkeypatch, "napari")
    (tmp_path / "file").touch()
    monkeypatch.setenv("NH2ST_CACHE", str(tmp_path / "file"))
    result = nh2st("doctor")
    assert result.code == 1
    assert "set NH2ST_CACHE to a folder that can be written" in result.out
