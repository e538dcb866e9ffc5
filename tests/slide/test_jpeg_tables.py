"""Tables of JPEG tiles are sound or damaged as a whole page is."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, JpegPresets

from array_slides import textured
from napari_nh2st.errors import InputError, SegmentError
from napari_nh2st.slide import open_slide
from napari_nh2st.slide.jpeg_tables import check_tables


def encoded(**options: object) -> bytes:
    written = io.BytesIO()
    Image.fromarray(textured(64, 64)).save(written, "jpeg", **options)
    return written.getvalue()


def changed(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes([value]) + data[at + 1 :]


def segments(data: bytes, marker: bytes) -> list[int]:
    """Offsets of the values of each segment of a kind."""
    found, at = [], 2
    while data[at : at + 2] != b"\xff\xda":
        if data[at : at + 2] == marker:
            found.append(at + 4)
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return found


@pytest.mark.parametrize("quality", range(1, 101))
def test_tables_of_an_encoder_are_sound(quality: int) -> None:
    assert check_tables(encoded(quality=quality)) == ""
    assert check_tables(encoded(quality=quality, optimize=True)) == ""
    assert check_tables(encoded(quality=quality, progressive=True)) == ""


@pytest.mark.parametrize("preset", sorted(JpegPresets.presets))
def test_quantization_of_another_kind_is_sound(preset: str) -> None:
    assert check_tables(encoded(quality=preset)) == ""


@pytest.mark.parametrize("rounding", [0.0, 0.5])
@pytest.mark.parametrize("scale", np.geomspace(0.01, 40, 150))
def test_usual_steps_times_any_number_are_sound(scale: float, rounding: float) -> None:
    data = encoded(quality=50)  # at which the usual tables are stored as they are
    for at in segments(data, b"\xff\xdb"):
        usual = np.frombuffer(data[at + 1 : at + 65], np.uint8)
        steps = np.clip(np.floor(usual * scale + rounding), 1, 255).astype(np.uint8)
        data = data[: at + 1] + steps.tobytes() + data[at + 65 :]
    assert check_tables(data) == ""


@pytest.mark.parametrize("quality", [30, 75, 90])
def test_a_changed_step_is_said(quality: int) -> None:
    data = encoded(quality=quality)
    for at in segments(data, b"\xff\xdb"):
        for place in (1, 20, 64):
            step = data[at + place]
            for other in (step + 1, step ^ 16, step ^ 128):
                damaged = changed(data, at + place, other)
                assert "1 of 64 quantization steps" in check_tables(damaged)
            with pytest.raises(SegmentError, match="step of 0"):
                check_tables(changed(data, at + place, 0))


def test_a_changed_code_is_damage() -> None:
    data = encoded(quality=75)
    tables = segments(data, b"\xff\xc4")
    assert len(tables) == 4
    for at in tables:
        n_symbols = sum(data[at + 1 : at + 17])
        for place in range(at + 17, at + 17 + n_symbols):
            for value in {0, 255, data[place] ^ 1, data[place] ^ 64} - {data[place]}:
                with pytest.raises(SegmentError, match="have a code for"):
                    check_tables(changed(data, place, value))


def test_tables_that_are_cut_off_are_damage() -> None:
    data = encoded(quality=75)
    with pytest.raises(SegmentError, match="cut off"):
        check_tables(data[: segments(data, b"\xff\xc4")[0] + 20])
    with pytest.raises(SegmentError, match="cut off"):
        check_tables(data[: segments(data, b"\xff\xdb")[0] + 20])


@pytest.fixture
def slide(test_data: Path, tmp_path: Path) -> Path:
    """A slide of Aperio's, whose tiles share tables."""
    return Path(shutil.copy(test_data / "slides" / "CMU-1-Small-Region.svs", tmp_path))


def damage_tables(path: Path, page: int, at: int, value: int) -> None:
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[page].tags["JPEGTables"].valueoffset
    with path.open("r+b") as file:
        file.seek(offset + at)
        file.write(bytes([value]))


_SYMBOL, _STEP = 183, 66


def test_a_level_with_damaged_codes_is_refused(slide: Path) -> None:
    damage_tables(slide, 0, _SYMBOL, 0x46)
    with pytest.raises(InputError, match=r"damaged: page 0: its JPEG tables .* Copy or download"):
        open_slide(slide)


def test_a_macro_with_damaged_codes_is_left_out(slide: Path) -> None:
    damage_tables(slide, 3, _SYMBOL, 0x46)
    with open_slide(slide) as opened:
        assert "macro" not in opened.associated
        assert "thumbnail" in opened.associated
        (notice,) = opened.notices
        assert notice.startswith("The macro image is left out. ")
        assert "page 3: its JPEG tables" in notice


def test_a_level_whose_steps_look_damaged_is_shown_with_a_notice(slide: Path) -> None:
    with open_slide(slide) as opened:
        assert not opened.notices
    damage_tables(slide, 0, _STEP, 7)
    with open_slide(slide) as opened:
        (notice,) = opened.notices
        assert notice.startswith("Page 0 may be damaged: 1 of 64 quantization steps")
        opened.levels[0].read_segment(0, 0)
