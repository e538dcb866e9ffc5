"""What notebooks show of slides, models, grids and settings."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from array_slides import ArrayLevel, array_slide, textured
from drawn_predictions import slide_file
from napari_nh2st import PredictSettings, TrainSettings, open_slide
from napari_nh2st.html_card import PICTURE_PX, html_card
from napari_nh2st.model.folder import Model, new_model
from napari_nh2st.slide import Slide
from napari_nh2st.tiles import TileGrid, tile_grid
from small_configs import small_config

EVIL = "<script>alert(1)</script>\"'&"


class Card(HTMLParser):
    """Tags and text of a card."""

    def __init__(self, shown: Any) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.html = shown if isinstance(shown, str) else shown._repr_html_()
        self.feed(self.html)
        self.text = " ".join(self.texts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def picture(self) -> np.ndarray:
        (content,) = re.findall(r'src="data:image/png;base64,([\w+/=]+)"', self.html)
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


@pytest.fixture(scope="module")
def slide() -> Slide:
    return array_slide(ArrayLevel(textured(600, 300)), mpp=(0.5, 0.4), path="section.tif")


def model(**changes: Any) -> Model:
    return replace(new_model(small_config(), 0), config=small_config(**changes))


def test_no_text_of_a_file_is_markup(slide: Slide) -> None:
    evil = array_slide(ArrayLevel(textured(64, 64)), mpp=(1, 1), path=EVIL.replace("/", ""))
    evil.vendor = evil.mpp_source = evil.brightfield_reason = EVIL
    training = {"trained": True, "summary": EVIL}
    config = {"name": EVIL, "panel": (EVIL, "VIM"), "training": training, "reliability_of": EVIL}
    evil_model = model(**config, reliability={EVIL: 0.5})
    for shown in (evil, replace(evil_model, source=EVIL), PredictSettings(genes=(EVIL,))):
        card = Card(shown)
        assert card.tags <= {"div", "strong", "table", "tr", "th", "td", "img"}
        assert "alert(1)" in card.text
    assert EVIL in Card(html_card(EVIL, [(EVIL, EVIL)], caution=EVIL)).text


def test_text_of_a_card_is_bounded_and_can_be_stored() -> None:
    card = html_card("name \udcff", [("long", "x" * 10_000), ("none", None), ("empty", "")])
    assert f">{'x' * 400}…<" in card
    assert b"name" in card.encode("utf-8")
    assert "none" not in card
    assert "empty" not in card


def test_a_slide_shows_its_facts_and_a_picture(tmp_path: Path) -> None:
    path = slide_file(tmp_path / "a.tif", 300, 420)
    with open_slide(path, mpp=(0.5, 0.25)) as slide:
        card = Card(slide)
        read = slide.read_region(0, 0, 300, 420)
    for text in ("Slide a.tif", "420 × 300 px", "0.25 × 0.5 (given)", "levels"):
        assert text in card.text
    assert card.picture.shape == (137, PICTURE_PX, 3)
    np.testing.assert_allclose(card.picture.mean((0, 1)), read.mean((0, 1)), atol=2)
    assert "img" not in Card(slide).tags  # closed: its facts alone


def test_no_large_level_is_read_for_a_picture() -> None:
    class Large(ArrayLevel):
        def read_segment(self, row: int, column: int) -> Any:
            raise AssertionError("read")

    level = Large(np.broadcast_to(np.uint8(0), (2049, 4096, 3)))
    assert "img" not in Card(array_slide(level, mpp=(1, 1), path="large.tif")).tags


def test_a_model_shows_its_card_in_short() -> None:
    reliability = {"ERBB2": 0.2, "CD74": 0.6}
    training = {"trained": True, "summary": "Made for a test."}
    known = model(reliability=reliability, reliability_of="other sections", training=training)
    text = Card(known).text
    for part in ("other sections", "mean 0.40 over 2 genes", "ERBB2", "ResNet-18", "Made for a"):
        assert part in text
    assert repr(known).startswith(f"<Model {known.config.name}: {len(known.config.panel)} genes")
    assert "UNTRAINED" not in text + repr(known)
    untrained = new_model(small_config(), 0)
    assert "UNTRAINED. Its predictions mean nothing." in Card(untrained).texts
    assert "UNTRAINED" in repr(untrained)


@pytest.mark.parametrize("layout", ["square", "hexagonal"])
def test_a_grid_shows_tile_step_and_where_tiles_are(slide: Slide, layout: Any) -> None:
    grid = tile_grid(slide, tile_um=20, pitch_um=30, mask=None, layout=layout, divisions=2)
    upper: TileGrid = grid.subset(np.flatnonzero(grid.centers[:, 0] < 300))
    text = repr(upper)
    assert f"{len(upper):,} tiles of 20 µm, 15 µm apart (pitch 30 µm), on a {layout} array" in text
    card = Card(upper)
    assert "20 µm, 50 × 40 px of the slide" in card.text
    height, width = card.picture.shape[:2]
    assert height == PICTURE_PX
    assert width == pytest.approx(PICTURE_PX * 300 / 600, abs=4)  # the array's: whole steps
    there = (card.picture != 235).any(-1)
    assert there[: height // 2 - 8].mean() > 0.95
    assert not there[height // 2 + 8 :].any()


def test_settings_show_values_units_and_what_is_not_the_default() -> None:
    text = Card(PredictSettings(step_um=50.0)).texts
    assert text[text.index("step_um *") + 1] == "50.0 µm"
    assert "batch_size" in text
    train = TrainSettings()
    augmentation = replace(train.augmentation, stain_jitter=0.3)
    names = Card(replace(train, augmentation=augmentation)).texts
    assert [name for name in names if name.endswith(" *")] == ["augmentation.stain_jitter *"]
