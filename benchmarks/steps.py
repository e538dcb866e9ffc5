"""Measures whether a finer map is as good at the spots as a coarse one; see README.md.

Usage: ``python benchmarks/steps.py sections.csv CROSSVAL [-o steps.json] [--narrow]``
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy.spatial import KDTree

from napari_nh2st import PredictSettings, load_model, open_slide, predict
from napari_nh2st.analysis.scores import pearson
from napari_nh2st.evaluation import evaluate
from napari_nh2st.model.folder import Model
from napari_nh2st.prediction.lattice import phases
from napari_nh2st.prediction.schema import MEASURED
from napari_nh2st.spots.positions import positions
from napari_nh2st.spots.sections import read_sections
from napari_nh2st.tiles.grid import refinements_of
from napari_nh2st.training import MeasuredSection, load_study

DIVISIONS = 4
AT_THE_SPOT = "at the spot"
REACH = 0.75
"""Steps of the coarsest map to its nearest tile: spots farther from tissue are left out of all."""


def main() -> None:
    """Measure, print the tables and write them as JSON."""
    options = _options()
    rows = []
    for measured in load_study(read_sections(options.sections)):
        folder = options.crossval / "folds" / measured.name / options.context / "model"
        model = load_model(str(folder))
        rows.append({"section": measured.name} | _of_section(measured, model, options.narrow))
        print(f"{measured.name}: {rows[-1]}", flush=True)
    table = pd.DataFrame(rows).set_index("section")
    table.loc["mean"] = table.mean()
    print("\nMean over the genes of the PCC at the same spots, by what a spot's value is")
    print(table.to_string(float_format=lambda value: f"{value:.3f}"))
    options.output.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    print(f"written to {options.output}")


def _of_section(measured: MeasuredSection, model: Model, narrow: bool) -> dict[str, float]:
    """Mean PCC by what the value of a spot is."""
    evaluation = evaluate(model, [measured], bootstrap=0)
    own = evaluation.predictions[measured.name]
    pitch = model.config.pitch_um
    fine = _predicted(measured, model, PredictSettings(step_um=pitch / DIVISIONS))
    maps = dict(_maps(fine, pitch))
    if narrow:
        for parts in (2, DIVISIONS):
            name = f"nearest, {pitch / parts:g} µm, near neighbors"
            maps[name] = _predicted(measured, model, PredictSettings(pitch_um=pitch / parts))
    at = positions(own) * measured.mpp[::-1]
    coarsest = _um(next(iter(maps.values())), measured)
    there = KDTree(coarsest).query(at)[0] <= REACH * pitch
    expected = np.asarray(own.layers[MEASURED])[there]
    found = {"spots": float(there.sum()), AT_THE_SPOT: _mean_pcc(own.X[there], expected)}
    for name, values in maps.items():
        nearest = KDTree(_um(values, measured)).query(at[there])[1]
        found[name] = _mean_pcc(np.asarray(values.X)[nearest], expected)
    for radius in (pitch / 4, pitch / 2):
        mean = _means_within(fine, _um(fine, measured), at[there], radius)
        found[f"mean within {radius:g} µm"] = _mean_pcc(mean, expected)
    return found


def _predicted(measured: MeasuredSection, model: Model, settings: PredictSettings) -> AnnData:
    section = measured.section
    with open_slide(section.slide, mpp=measured.mpp, image=section.image) as slide:
        return predict(slide, model, settings)


def _maps(fine: AnnData, pitch: float) -> Iterator[tuple[str, AnnData]]:
    """The map of each step, the coarsest first: its values are those of a run of that step."""
    refinement = refinements_of(phases(fine), DIVISIONS)
    for number in range(refinement.max() + 1):
        yield f"nearest, {pitch / 2**number:g} µm", fine[refinement <= number]


def _um(prediction: AnnData, measured: MeasuredSection) -> NDArray[np.float64]:
    """(n, 2) centers (x, y) in µm."""
    return positions(prediction) * measured.mpp[::-1]


def _means_within(
    fine: AnnData, um: NDArray[np.float64], at: NDArray[np.float64], radius: float
) -> NDArray[np.float64]:
    """(spots, genes) mean of the tiles near each spot; where there are none, of the nearest."""
    tree, values = KDTree(um), np.asarray(fine.X, np.float64)
    nearest = tree.query(at)[1]
    near = tree.query_ball_point(at, radius)
    return np.stack(
        [values[tiles or [one]].mean(0) for tiles, one in zip(near, nearest, strict=True)]
    )


def _mean_pcc(predicted: NDArray[np.floating], measured: NDArray[np.floating]) -> float:
    return float(np.nanmean(pearson(np.asarray(predicted, np.float64), measured)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", type=Path, help="table of the sections, as for nh2st train")
    parser.add_argument("crossval", type=Path, help="folder that nh2st crossval wrote")
    parser.add_argument("--context", default="neighborhood")
    parser.add_argument("--narrow", action="store_true", help="also with a pitch of the step")
    parser.add_argument("-o", "--output", type=Path, default=Path("steps.json"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
