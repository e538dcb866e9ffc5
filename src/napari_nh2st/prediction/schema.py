"""Keys of a prediction's AnnData, and what is recorded under them."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, cast

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.slide.record import SlideRecord
from napari_nh2st.spots.positions import ARRAY, positions

MARK = "nh2st"
"""Key of ``uns``: the :class:`Notes`. As an attribute, it marks the stores that we wrote."""

STATUS = "status"
"""Column of ``obs``: :data:`PENDING`, :data:`PREDICTED`, or why there is no value."""

PENDING = "pending"
PREDICTED = "predicted"

RELIABILITY = "reliability"
"""Column of ``var``: Pearson correlation of a gene on held-out sections, NaN where unknown."""

MODEL_RELIABILITY = "model_reliability"
"""Column of ``var``: the model's reliability, where that of the slide itself is shown instead."""

FAR_STAIN = 3.0
"""Distance above which a slide's stain is far from what the model saw.

Measured with a profile of the HER2+ breast sections C2 to C6 (Andersson et al. 2021) under their
spots. The tissue of each section is 0.4 to 1.3 from a profile of the other four. From that of all
five, sections of a mouse's olfactory bulb from another laboratory are 6.7 to 7.2 away, H&E of skin
from another scanner 10.6, C2 and C6 turned half brown or brown 12.7 to 28, and inverted 46 to 48.
With 1.3 or 0.7 times the stain they are 2.0 to 2.7 away, with 1.6 or 0.5 times 4.0 to 4.3.
"""

MEASURED = "measured"
"""Key of ``layers``: the measured target at the spots, NaN for genes that were not measured."""

SPREAD = "spread"
"""Key of ``layers``: standard deviation over the model's heads, float32 in the unit of ``X``."""

IMAGE_FEATURES = "image_features"
"""Key of ``obsm``: (tiles, 32) float16, how each tile looks to the model's image encoder: the mean
of each channel of its map, in directions that are the same for all slides. NaN where there is none.
"""

_HEAD = re.compile(r"head_(\d+)")

HELD_OUT_PCC = "held_out_pcc"
"""Key of ``varm``: (genes, folds) Pearson correlation of each gene on what each fold of the model's
cross-validation left out; NaN where there is none."""

INTERVAL = "interval_90"
"""Column of ``var``: half width of a gene's 90 % interval in the unit of ``X``, NaN where
unknown. Where the :data:`USUAL_SPREAD` is known too, it is that at a tile of this spread; see
:mod:`napari_nh2st.prediction.half_widths`."""

USUAL_SPREAD = "usual_spread"
"""Column of ``var``: spread of a gene's values on held-out sections, NaN where the interval is the
same everywhere."""

UNFAMILIAR = "unfamiliar"
"""Column of ``obs``: distance of a tile from those of training, float32; 99 % of the tiles of
sections like those of training have 1 or less. NaN where there is none."""

NUCLEI = "nuclei_per_mm2"
"""Column of ``obs``: estimated density of nuclei in a tile, float32, where it was asked for and at
measured spots; see :mod:`napari_nh2st.inference.nuclei`. NaN where there is none."""


class ModelNotes(TypedDict):
    """The model that predicted."""

    name: str
    sha256: str
    architecture: str
    context: str
    trained: bool
    training: str


class RunNotes(TypedDict):
    """Device and precision of the run.

    For int8 also what it changed on some tiles of the slide: ``int8_pcc``, the lowest Pearson
    correlation of a gene with itself in float32, and ``int8_difference``, the largest difference.
    """

    device: str
    precision: str
    int8_pcc: NotRequired[float]
    int8_difference: NotRequired[float]


TissueOrigin = Literal["found", "given", "all tiles", "features"]


class TissueNotes(TypedDict):
    """The tissue that tiles were laid over.

    ``origin`` is ``"features"`` if the tiles are those of a file of features, whose tool looked
    for tissue. ``sha256`` is that of the mask. ``share_without_tile`` is the share (0–1) of the
    tissue that has no tile; it is not counted if only a region was predicted.
    """

    origin: TissueOrigin
    sha256: NotRequired[str]
    share_without_tile: NotRequired[float]


class Notes(TypedDict):
    """``uns["nh2st"]``: origin of a prediction, and results stored in it.

    Read from a file, numbers and strings are NumPy's. All predictions have ``model`` to
    ``versions``; those on a grid also what describes it, those at measured spots ``section`` and
    ``donor``. ``pitch_um`` is the distance between the neighbors that the model looks at,
    ``step_um`` that between values; :mod:`napari_nh2st.prediction.lattice` also reads files from
    before there were steps. ``reliability_of`` says what ``var["reliability"]`` was measured on.
    """

    model: ModelNotes
    target: dict[str, Any]
    tile_px: int
    mpp: float
    pitch_um: float
    layout: str
    slide: SlideRecord
    versions: dict[str, str]
    run: NotRequired[RunNotes]
    settings: NotRequired[dict[str, Any]]
    notices: NotRequired[NDArray[np.object_]]
    reliability_of: NotRequired[str]
    model_reliability_of: NotRequired[str]
    stain_distance: NotRequired[float]
    tissue: NotRequired[TissueNotes]
    # on a grid
    array_shape: NotRequired[NDArray[np.int64]]
    step_um: NotRequired[float]
    step_px_fullres: NotRequired[NDArray[np.float64]]
    first_center_px_fullres: NotRequired[NDArray[np.float64]]
    # of a cohort: columns of its table, and what makes it another prediction if it changes
    cohort: NotRequired[dict[str, str]]
    # at spots
    section: NotRequired[str]
    donor: NotRequired[str]
    comparison: NotRequired[dict[str, Any]]
    # analyses
    signatures: NotRequired[pd.DataFrame]
    smoothness: NotRequired[str]
    domain_markers: NotRequired[pd.DataFrame]
    domain_heads: NotRequired[int]
    # display, for a layer opened from a file
    shown_gene: NotRequired[str]
    shown_limits: NotRequired[NDArray[np.float64]]
    shows_domains: NotRequired[bool]
    shown_column: NotRequired[str]


def notes(prediction: AnnData) -> Notes:
    """``uns["nh2st"]`` itself: changing it changes the prediction."""
    return cast(Notes, prediction.uns[MARK])


def tissue_left_out(prediction: AnnData) -> str:
    """How much of the tissue has no tile, in a sentence; empty if less than 1 %."""
    about = notes(prediction).get("tissue")
    share = 0.0 if about is None else float(about.get("share_without_tile", 0.0))
    if round(100 * share) < 1:
        return ""
    return f"{share:.0%} of the tissue has no tile: pieces and edges that cover too little of one."


def is_on_grid(prediction: AnnData) -> bool:
    """Whether values lie on a regular grid of tiles; else they lie at measured spots."""
    return "step_px_fullres" in notes(prediction)


def is_trained(prediction: AnnData) -> bool:
    """Whether the model that predicted had been trained; if not, the values mean nothing."""
    return bool(notes(prediction)["model"]["trained"])


def of_same_model(one: AnnData, other: AnnData) -> bool:
    """Whether two predictions were made with the same model: their values can be compared."""
    models = [notes(prediction)["model"] for prediction in (one, other)]
    first, second = ((str(model["name"]), str(model.get("sha256"))) for model in models)
    return first == second


def slide_mpp(prediction: AnnData) -> NDArray[np.float64]:
    """(2,) µm per full-resolution pixel of the slide, (y, x).

    Examples
    --------
    >>> slide_mpp(AnnData(uns={"nh2st": {"slide": {"mpp": [0.5, 0.5]}}})).tolist()
    [0.5, 0.5]
    """
    return np.asarray(notes(prediction)["slide"]["mpp"], np.float64)


def slide_name(prediction: AnnData) -> str:
    """Name of the slide's file."""
    return str(notes(prediction)["slide"]["name"])


def slide_stem(prediction: AnnData) -> str:
    """Name of the slide's file without its suffix."""
    return Path(slide_name(prediction)).stem


def slide_fingerprint(prediction: AnnData) -> str | None:
    """Fingerprint of the slide; None where it was not recorded."""
    found = notes(prediction).get("slide", {}).get("fingerprint")
    return None if found is None else str(found)


def value_name(prediction: AnnData) -> str:
    """What a value is, in words: for colorbars and axes."""
    return str(notes(prediction)["target"]["description"])


def reliability(prediction: AnnData) -> pd.Series:
    """(genes,) float64 Pearson correlation on held-out sections; NaN where unknown.

    Examples
    --------
    >>> known = pd.DataFrame({"reliability": [0.5]}, ["ERBB2"])
    >>> reliability(AnnData(var=known)).to_dict()
    {'ERBB2': 0.5}
    """
    known = prediction.var.get(RELIABILITY)
    if known is None:
        return pd.Series(np.nan, index=prediction.var_names, name=RELIABILITY)
    return known.astype(np.float64)


def reliability_of(prediction: AnnData) -> str:
    """What the reliability was measured on, in words; empty where that is not known."""
    return str(notes(prediction).get("reliability_of", ""))


def notices(prediction: AnnData) -> tuple[str, ...]:
    """Sentences that a reader of the values should know.

    Examples
    --------
    >>> notices(AnnData(uns={"nh2st": {"notices": ["The model is a demonstration."]}}))
    ('The model is a demonstration.',)
    """
    return tuple(str(notice) for notice in np.atleast_1d(notes(prediction).get("notices", ())))


def add_notices(prediction: AnnData, more: Iterable[str]) -> None:
    """Keep further sentences, each once.

    Examples
    --------
    >>> prediction = AnnData(uns={"nh2st": {}})
    >>> add_notices(prediction, ["Much is blurred."])
    >>> add_notices(prediction, ["Much is blurred."])
    >>> notices(prediction)
    ('Much is blurred.',)
    """
    every = dict.fromkeys([*notices(prediction), *more])
    notes(prediction)["notices"] = np.array(list(every), object)


def spread(prediction: AnnData) -> NDArray[np.float32] | None:
    """(tiles, genes) standard deviation over the model's heads; None if there is none."""
    found = prediction.layers.get(SPREAD)
    return None if found is None else np.asarray(found, np.float32)


def named_layers(prediction: AnnData) -> dict[str, Any]:
    """Layers beside ``X``, which from version 0.13 on anndata lists among them, without a name."""
    return {name: values for name, values in prediction.layers.items() if name is not None}


def head_layers(prediction: AnnData) -> list[str]:
    """Keys of ``layers`` with the values of each of the model's heads, where they were kept."""
    found = [name for name in named_layers(prediction) if _HEAD.fullmatch(name)]
    return sorted(found, key=lambda name: int(name.removeprefix("head_")))


def held_out_pcc(prediction: AnnData) -> pd.DataFrame | None:
    """(genes, folds) correlation on what each fold left out; None where that is not known."""
    known = prediction.varm.get(HELD_OUT_PCC)
    if known is None or getattr(known, "ndim", 0) != 2 or not known.shape[1]:
        return None
    return pd.DataFrame(np.asarray(known, np.float64), prediction.var_names)


def interval(prediction: AnnData) -> pd.Series:
    """(genes,) float64 half width of the 90 % interval in the unit of ``X``; NaN where unknown.

    Examples
    --------
    >>> interval(AnnData(var=pd.DataFrame(index=["ERBB2"]))).to_dict()
    {'ERBB2': nan}
    """
    known = prediction.var.get(INTERVAL)
    if known is None:
        return pd.Series(np.nan, index=prediction.var_names, name=INTERVAL)
    return known.astype(np.float64)


def usual_spread(prediction: AnnData) -> pd.Series:
    """(genes,) float64 spread at which half widths are the usual ones; NaN if they are constant."""
    known = prediction.var.get(USUAL_SPREAD)
    if known is None:
        return pd.Series(np.nan, index=prediction.var_names, name=USUAL_SPREAD)
    found = known.astype(np.float64)
    return found.where(found > 0)


def unfamiliar(prediction: AnnData) -> pd.Series | None:
    """(tiles,) float64 distance from the tiles of training; None where it is not known."""
    known = prediction.obs.get(UNFAMILIAR)
    return None if known is None else known.astype(np.float64)


def nuclei(prediction: AnnData) -> pd.Series | None:
    """(tiles,) float64 nuclei per mm²; None where they were not counted."""
    known = prediction.obs.get(NUCLEI)
    return None if known is None else known.astype(np.float64)


def origin(prediction: AnnData) -> dict[str, Any]:
    """Model, slide and scale of a prediction as JSON, for formats that carry notes."""
    about = notes(prediction)
    return {
        "model": str(about["model"]["name"]),
        "model_sha256": str(about["model"]["sha256"]),
        "trained": is_trained(prediction),
        "value": value_name(prediction),
        "slide": slide_name(prediction),
        "slide_fingerprint": str(about["slide"].get("fingerprint", "")),
        "um_per_px": slide_mpp(prediction).tolist(),
        "pitch_um": float(about["pitch_um"]),
        "step_um": float(about.get("step_um", about["pitch_um"])),
    }


def check_prediction(data: AnnData) -> None:
    """Check that an AnnData is a prediction of this package, at tiles or at spots.

    Raises
    ------
    InputError
        It is not, or a part of it is missing or malformed.

    Examples
    --------
    >>> check_prediction(AnnData(np.ones((3, 2))))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    napari_nh2st.errors.InputError: This AnnData is not a prediction of napari-nh2st: ...
    """
    problem = _problem(data)
    if problem is not None:
        raise InputError(f"This AnnData is not a prediction of napari-nh2st: {problem}.")


def _problem(data: AnnData) -> str | None:
    if data.uns.get(MARK) is None:
        return f"it has no uns[{MARK!r}]"
    try:
        about = notes(data)
        complete = (
            slide_mpp(data).shape == (2,)
            and bool(np.isfinite(slide_mpp(data)).all())
            and positions(data).shape == (data.n_obs, 2)
        )
        origin(data)
        _ = interval(data), usual_spread(data), unfamiliar(data)
        if is_on_grid(data):
            _ = *(data.obs[name] for name in ARRAY), about["layout"], about["tile_px"]
            complete &= len(about["step_px_fullres"]) == 2
            complete &= len(about.get("first_center_px_fullres", (0, 0))) == 2
            complete &= float(about.get("step_um", 1)) > 0
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        return f"{error} is missing or malformed"
    if not complete:
        return "its positions or µm/px are malformed"
    if not data.n_obs or not data.n_vars:
        return f"it has {data.n_obs} tiles and {data.n_vars} genes"
    if not isinstance(data.X, np.ndarray) or data.X.dtype.kind != "f":
        return "its values are not a dense matrix of floating-point numbers"
    heads = data.layers.get(SPREAD)
    if heads is not None and (not isinstance(heads, np.ndarray) or heads.dtype.kind != "f"):
        return f"layers[{SPREAD!r}] is not a dense matrix of floating-point numbers"
    if not data.var_names.is_unique:
        return "a gene is in it more than once"
    return None
