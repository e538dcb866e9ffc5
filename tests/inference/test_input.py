"""Bad input to a prediction is told in a sentence, before anything is computed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from array_slides import ArrayLevel, array_slide, textured
from napari_nh2st.errors import InputError
from napari_nh2st.inference import PredictSettings, Started, predict, predict_events
from napari_nh2st.inference.device import available_devices, place
from napari_nh2st.model.folder import Model, new_model
from napari_nh2st.slide import Slide
from small_configs import PANEL, small_config
from small_models import MeanColor, color_model, small_model

torch.set_num_threads(1)

PLAIN = {"device": "cpu", "precision": "float32", "tissue_only": False}
TRIANGLE = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])


def any_slide(**options: Any) -> Slide:
    return array_slide(ArrayLevel(textured(128, 192)), **options)


def refused(slide: Slide, model: Model | None = None, **settings: Any) -> str:
    """What is said; nothing is computed."""
    with pytest.raises(InputError) as raised:
        next(predict_events(slide, model or small_model(), PredictSettings(**(PLAIN | settings))))
    return str(raised.value)


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [
        ("EPCAN", "EPCAM"),
        ("erbb2", "ERBB2"),
        ("COL1A2", "COL1A1"),
        ("cd47", "CD74"),
    ],
)
def test_an_unknown_gene_is_told_with_the_nearest_names(wanted: str, nearest: str) -> None:
    message = refused(any_slide(), genes=("VIM", wanted))
    assert message.startswith(
        f"gene {wanted!r} is not in the model's panel of 5; nearest: {nearest}"
    )


def test_an_unknown_gene_like_no_other_is_told_without() -> None:
    assert refused(any_slide(), genes=("QQQQ",)) == "gene 'QQQQ' is not in the model's panel of 5"


def test_a_slide_of_unknown_resolution_is_refused() -> None:
    message = refused(any_slide(mpp=None))
    assert message.startswith("drawn.tif: its µm/px is not recorded. Give it (--mpp on the command")
    assert "mpp= in Python" in message


def test_a_slide_that_is_not_brightfield_is_refused_unless_told_otherwise(
    mean_color: type[MeanColor],
) -> None:
    slide = any_slide(brightfield=False)
    assert "drawn.tif is not a brightfield H&E slide (it is 16-bit)" in refused(slide)
    settings = PredictSettings(any_stain=True, **PLAIN)
    assert np.isfinite(predict(slide, color_model(), settings).X).all()


def test_a_region_off_the_slide_is_refused() -> None:
    message = refused(any_slide(), region=(TRIANGLE - 100,))
    assert message.startswith("drawn.tif: no tile has its center in the region")


@pytest.mark.parametrize(
    ("mpp", "settings", "words"),
    [
        (0.02, {"pitch_um": 1.0}, None),
        (15.0, {"pitch_um": 1.0}, "Is the µm/px right?"),
        (0.003, {"pitch_um": 1.0}, "px wide. Is the µm/px right?"),
        (0.0001, {}, "no tile has its center on the slide: it is 0.3 × 0.2 µm"),
    ],
)
def test_a_senseless_resolution_is_refused_before_it_fills_the_memory(
    mpp: float, settings: dict[str, Any], words: str | None
) -> None:
    slide = array_slide(ArrayLevel(np.full((2000, 3000, 3), 200, np.uint8)), mpp=(mpp, mpp))
    if words is None:
        events = predict_events(slide, small_model(), PredictSettings(**(PLAIN | settings)))
        assert isinstance(next(events), Started)
    else:
        assert words in refused(slide, **settings)


@pytest.mark.parametrize("name", ["there.h5ad", "missing/out.h5ad", "out.txt"])
def test_a_bad_output_is_refused_before_anything_else(tmp_path: Path, name: str) -> None:
    (tmp_path / "there.h5ad").write_bytes(b"earlier")
    slide = any_slide(mpp=None)  # bad too, and found later
    with pytest.raises(InputError, match=name):
        predict(slide, small_model(), PredictSettings(**PLAIN), output=tmp_path / name)
    assert (tmp_path / "there.h5ad").read_bytes() == b"earlier"
    assert [path.name for path in tmp_path.iterdir()] == ["there.h5ad"]


def test_a_prediction_is_never_written_into_its_slide(tmp_path: Path) -> None:
    folder = tmp_path / "slide.zarr"
    folder.mkdir()
    output = tmp_path / "other" / ".." / "slide.zarr" / "out.h5ad"
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="is the slide, or inside it"):
        predict(any_slide(path=str(folder)), small_model(), PredictSettings(**PLAIN), output=output)
    assert not list(folder.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    assert f"device '{device}' does not exist; this machine has" in refused(
        any_slide(), device=device
    )


def test_a_device_nobody_knows_is_refused() -> None:
    message = refused(any_slide(), device="abacus")
    assert (
        message
        == f"device 'abacus' does not exist; this machine has {', '.join(available_devices())}"
    )


def test_float16_on_a_cpu_is_refused() -> None:
    message = refused(any_slide(), precision="float16")
    assert message.startswith("float16 on a CPU is many times slower")
    assert place("cpu", "auto", None, None).dtype in (torch.float32, torch.bfloat16)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(InputError, match="precision 'float8' is not one of auto, "):
        place("cpu", "float8", None, None)


def test_what_is_left_open_is_settled_for_the_device() -> None:
    placement = place("cpu", "bfloat16", None, None)
    assert (placement.device.type, placement.precision) == ("cpu", "bfloat16")
    assert placement.batch_size >= 1
    assert placement.reader_threads >= 1
    given = place("cpu", "float32", 3, 5)
    assert (given.batch_size, given.reader_threads) == (3, 5)
    assert place("auto", "float32", None, None).device.type == next(iter(available_devices()))[:4]


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "auto"])
@pytest.mark.parametrize(
    ("capability", "dtype"), [((7, 5), torch.float16), ((9, 0), torch.bfloat16)]
)
def test_the_first_gpu_is_taken_with_its_fast_precision(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    capability: tuple[int, int],
    dtype: torch.dtype,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"GPU {number}")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    placement = place(name, "auto", None, None)
    assert placement.device.type == "cuda"
    assert placement.dtype == dtype
    assert place("cuda:1", "auto", None, None).device.index == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pitch_um": 0.5}, "pitch_um is 0.5; it must be from 1 to "),
        ({"pitch_um": float("nan")}, "pitch_um is nan"),
        ({"pitch_um": float("inf")}, "pitch_um is inf"),
        ({"batch_size": 0}, "batch_size is 0; it must be from 1 to "),
        ({"reader_threads": -1}, "reader_threads is -1"),
        ({"min_tissue": 1.5}, "min_tissue is 1.5; it must be from 0 to 1"),
        ({"min_tissue": float("nan")}, "min_tissue is nan"),
        ({"batch_size": 1.5}, "batch_size is 1.5; it must be a whole number"),
        ({"precision": "float64"}, "precision is 'float64'; it must be one of auto, float32, "),
        ({"genes": ()}, "the list of genes is empty"),
        ({"genes": "VIM"}, "genes is the text 'VIM'"),
        ({"layout": "round"}, "layout is 'round'; it must be one of square, hexagonal"),
        ({"order": "random"}, "order is 'random'; it must be one of raster, coarse-to-fine"),
        ({"region": (TRIANGLE, TRIANGLE[:2])}, "polygon 2 of the region has shape (2, 2)"),
        ({"region": (np.zeros((4, 3)),)}, "polygon 1 of the region has shape (4, 3)"),
    ],
    ids=lambda value: value.partition(" is ")[0] if isinstance(value, str) else "",
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        PredictSettings(**settings)
    assert str(raised.value).startswith(message)


def test_settings_as_json_leave_out_what_was_left_out() -> None:
    assert "genes" not in PredictSettings().to_json()
    found = PredictSettings(genes=PANEL[:2], region=(TRIANGLE,), batch_size=4).to_json()
    assert found["genes"] == ["ERBB2", "EPCAM"]
    assert found["region"] == [[[0, 0], [9, 0], [0, 9]]]
    assert found["batch_size"] == 4
    assert "pitch_um" not in found


def notices(slide: Slide, model: Model, **settings: Any) -> tuple[str, ...]:
    events = predict_events(slide, model, PredictSettings(**(PLAIN | settings)))
    started = next(events)
    events.close()
    assert isinstance(started, Started)
    return started.notices


def test_nothing_is_noticed_where_all_fits() -> None:
    assert notices(any_slide(mpp=1.0), small_model("average")) == ()


def test_an_untrained_model_is_noticed() -> None:
    (notice,) = notices(any_slide(mpp=1.0), new_model(small_config(), 1))
    assert notice.startswith("small: UNTRAINED: random weights (seed 1)")


def test_a_slide_coarser_than_the_model_is_noticed() -> None:
    (notice,) = notices(any_slide(mpp=2.0), small_model())
    assert "The slide (2 µm/px) is 2.0 times coarser" in notice
    assert notices(any_slide(mpp=1.4), small_model()) == ()


@pytest.mark.parametrize("context", ["average", "neighborhood"])
def test_another_pitch_is_noticed_where_neighborhoods_matter(context: str) -> None:
    (notice,) = notices(any_slide(mpp=1.0), small_model(context), pitch_um=20.0)
    assert notice.startswith("The pitch of 20 µm differs from the 32 µm between spots in training")
    assert notices(any_slide(mpp=1.0), small_model(context), pitch_um=33.0) == ()
    assert notices(any_slide(mpp=1.0), small_model("query"), pitch_um=20.0) == ()
