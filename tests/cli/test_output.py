"""What reaches a terminal: nothing that steers it, and no traceback whatever takes the output."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from array_slides import write_tiff
from napari_nh2st.cli import main
from napari_nh2st.cli.output import print_json, print_table
from napari_nh2st.model.folder import save_model_folder
from napari_nh2st.shown_text import printable
from small_models import small_model

NH2ST = [
    sys.executable,
    "-c",
    "from napari_nh2st.cli import main; raise SystemExit(main())",
]
UGLY = "a\x1b]0;title\x07\x9b31m\u202eb\ud800\r\x7f"


def is_harmless(text: str) -> bool:
    """Judged by code points, not by what Python calls printable."""
    codes = set(map(ord, text)) - {0x0A}
    controls = {*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
    return not codes & {*controls, *range(0xD800, 0xE000)}


def test_control_characters_are_shown_as_escapes() -> None:
    assert printable("µm/px × 1\nπ") == "µm/px × 1\nπ"
    shown = printable(UGLY)
    assert is_harmless(shown)
    assert shown == r"a\x1b]0;title\x07\x9b31m\u202eb\ud800\r\x7f"


def test_json_is_valid_and_the_same_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    content = {UGLY: [UGLY, "µ\t\u2028", 1.5, None, True], "nested": {"deep": ("x\n",)}}
    print_json(content | {"nan": float("nan"), "infinite": [np.inf]})
    out = capsys.readouterr().out
    assert is_harmless(out)
    expected = {UGLY: [UGLY, "µ\t\u2028", 1.5, None, True], "nested": {"deep": ["x\n"]}}
    assert json.loads(out) == expected | {"nan": None, "infinite": [None]}


def test_tables_are_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([("name", UGLY), (UGLY, "1")])
    assert is_harmless(capsys.readouterr().out)


@pytest.mark.skipif(os.name != "posix", reason="no such names on Windows")
def test_a_slide_of_an_unspeakable_name_is_shown_and_predicted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    pixels = np.random.default_rng(0).normal((190, 90, 150), 25, (128, 128, 3)).clip(0, 255)
    slide = write_tiff(tmp_path / "a.tif", pixels.astype(np.uint8))
    slide = slide.rename(tmp_path / os.fsdecode(b"s\x1b[31m\xff.tif"))
    save_model_folder(small_model(), tmp_path / "model")
    output = tmp_path / "out.h5ad"
    for command in (
        ("info", slide),
        ("info", slide, "--json"),
        ("predict", slide, "-o", output, "--model", tmp_path / "model", "--mpp", 1, "--all-tiles"),
        ("info", slide.with_name("\x1bgone\udcff.svs")),
        ("info", slide, "--\x1bcolor"),
    ):
        code = main(list(map(str, command)))
        out, err = capsys.readouterr()
        assert is_harmless(out + err + caplog.text)
        assert "Traceback" not in err
        assert code == (2 if "gone" in str(command) or "color" in str(command) else 0), err
    assert output.exists()


def test_a_card_cannot_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = "Trained \x1b[2J\x1b]8;;http://x\x07here"
    model = small_model(training={"trained": True, "summary": summary}, name="na\x1bme")
    save_model_folder(model, tmp_path / "model")
    for more in ((), ("--json",)):
        assert main(["model", "info", str(tmp_path / "model"), *more]) == 0
        out = capsys.readouterr().out
        assert is_harmless(out)
    assert json.loads(out)["training"]["summary"] == summary


def run(**more: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*NH2ST, "model", "list"], stderr=subprocess.PIPE, text=True, check=False, **more
    )  # type: ignore[call-overload]


@pytest.mark.skipif(os.name != "posix", reason="/dev/full, and closed descriptors")
def test_an_output_that_nobody_can_take_ends_without_a_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    gone = run(stdout=writing)
    os.close(writing)
    assert (gone.returncode, gone.stderr) == (1, "")
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        on_full = run(stdout=full)
    assert on_full.returncode == 2
    assert on_full.stderr.startswith("nh2st: No space left on device")
    assert len(on_full.stderr.splitlines()) == 1
    shell = 'exec "$0" "$@" >&- 2>&-'
    closed = subprocess.run(["sh", "-c", shell, *NH2ST, "model", "list"], check=False)
    assert closed.returncode == 0


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_an_output_that_knows_few_letters_is_written_all_the_same(encoding: str) -> None:
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    shown = run(stdout=subprocess.PIPE, env=environment, encoding=encoding)
    assert (shown.returncode, shown.stderr) == (0, "")
    micro = "µ" if encoding == "cp1252" else r"\xb5"
    assert f"{micro}m/px" in shown.stdout
