"""What a prediction has to have to be exported, and what of it is."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.errors import InputError

MARK = "nh2st"
"""Attribute by which our own stores are told from others, which are never overwritten."""


def check_prediction(data: AnnData) -> None:
    """See that an AnnData is a prediction of this package, at tiles or at spots.

    Raises
    ------
    InputError
        Something of it is missing or malformed.
    """
    problem = _problem(data)
    if problem is not None:
        raise InputError(f"This AnnData is no prediction of napari-nh2st: {problem}.")


def is_on_grid(prediction: AnnData) -> bool:
    """Whether values lie on a regular grid of tiles; else they lie at measured spots."""
    return "step_px_fullres" in prediction.uns["nh2st"]


def slide_mpp(prediction: AnnData) -> NDArray[np.float64]:
    """(2,) µm per full-resolution pixel of the slide, (y, x)."""
    return np.asarray(prediction.uns["nh2st"]["slide"]["mpp"], np.float64)


def is_trained(prediction: AnnData) -> bool:
    """Whether the model that predicted had been trained; if not, the values mean nothing."""
    return bool(prediction.uns["nh2st"]["model"]["trained"])


def value_name(prediction: AnnData) -> str:
    """What a value is, in words: for colorbars and axes."""
    return str(prediction.uns["nh2st"]["target"]["description"])


def chosen_genes(prediction: AnnData, names: Sequence[str] | None) -> tuple[str, ...]:
    """The genes that were asked for; all of them if None.

    Raises
    ------
    InputError
        A gene was not predicted (similar names are offered), is given twice, or none is given.
    """
    known = [str(name) for name in prediction.var_names]
    if names is None:
        return tuple(known)
    if not names:
        raise InputError("No gene is chosen: name at least one, or leave the genes out for all.")
    for place, name in enumerate(names):
        if name in names[:place]:
            raise InputError(f"Gene {name} is given more than once.")
        if name not in known:
            similar = _similar(name, known)
            hint = f"Did you mean {' or '.join(similar)}?" if similar else f"There is {known[0]}, …"
            raise InputError(f"{name} is not among the {len(known)} predicted genes. {hint}")
    return tuple(names)


def best_gene(prediction: AnnData) -> str:
    """The gene of the highest reliability; where none is known, the first that has a value."""
    with_values = np.isfinite(prediction.X).any(0)
    if not with_values.any():
        with_values[:] = True
    score = np.where(with_values, 0.0, -np.inf)
    if "reliability" in prediction.var:
        reliability = prediction.var["reliability"].to_numpy(np.float64)
        known = with_values & np.isfinite(reliability)
        if known.any():
            score = np.where(known, reliability, -np.inf)
    return str(prediction.var_names[int(np.argmax(score))])


def gene_values(prediction: AnnData, gene: str) -> NDArray[np.float32]:
    """(n,) values of one gene; NaN where there is none."""
    return np.asarray(prediction.X[:, prediction.var_names.get_loc(gene)], np.float32)


def origin(prediction: AnnData) -> dict[str, Any]:
    """Where values come from, as JSON, for formats that carry notes."""
    notes = prediction.uns["nh2st"]
    return {
        "model": str(notes["model"]["name"]),
        "model_sha256": str(notes["model"]["sha256"]),
        "trained": is_trained(prediction),
        "value": value_name(prediction),
        "slide": str(notes["slide"]["name"]),
        "slide_fingerprint": str(notes["slide"].get("fingerprint", "")),
        "um_per_px": slide_mpp(prediction).tolist(),
        "pitch_um": float(notes["pitch_um"]),
    }


def _problem(data: AnnData) -> str | None:
    notes = data.uns.get("nh2st")
    if notes is None:
        return "it has no uns['nh2st']"
    try:
        complete = (
            slide_mpp(data).shape == (2,)
            and bool(np.isfinite(slide_mpp(data)).all())
            and np.asarray(data.obsm["spatial"], np.float64).shape == (data.n_obs, 2)
        )
        origin(data)
        if is_on_grid(data):
            _ = data.obs["array_row"], data.obs["array_col"], notes["layout"], notes["tile_px"]
            complete &= len(notes["step_px_fullres"]) == 2
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        return f"{error} is missing or malformed"
    if not complete:
        return "its positions or µm/px are malformed"
    if not data.n_obs or not data.n_vars:
        return f"it has {data.n_obs} tiles and {data.n_vars} genes"
    if not isinstance(data.X, np.ndarray) or data.X.dtype.kind != "f":
        return "its values are no dense matrix of floating-point numbers"
    if not data.var_names.is_unique:
        return "a gene is in it more than once"
    return None


def _similar(name: str, known: Sequence[str]) -> list[str]:
    """Names like this one, whatever their case."""
    of_upper = {gene.upper(): gene for gene in known}
    return [of_upper[match] for match in get_close_matches(name.upper(), of_upper, n=3)]
