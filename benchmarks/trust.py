"""Measures what intervals, spread of heads and unfamiliarity say about the error.

Usage: ``python benchmarks/trust.py CROSSVAL DATA``; see README.md.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr
from sklearn.metrics import roc_auc_score

from napari_nh2st import PredictSettings, open_slide, predict
from napari_nh2st.analysis.intervals import conformal_half_width, covered
from napari_nh2st.analysis.unfamiliarity import fit_familiar, unfamiliarity
from napari_nh2st.model import load_model
from napari_nh2st.model.config import Context
from napari_nh2st.model.encoders import normalize_tiles
from napari_nh2st.model.folder import Model
from napari_nh2st.spots import Section, read_spots, spot_array
from napari_nh2st.spots.positions import centers
from napari_nh2st.synthetic import write_synthetic_slide
from napari_nh2st.training import load_study
from napari_nh2st.training.slide_tiles import read_tiles
from napari_nh2st.training.study import SectionTiles, section_tiles

_PITCH_UM = 200.0
_COVERAGE, _LOWEST, _HIGHEST, _WANTED_AUC = 0.9, 0.87, 0.93, 0.9
_BATCH = 64

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Held:
    """A section that one of the models has not seen: (spots, genes) values and (spots, features).

    `errors` are measured minus predicted by that model, `spread` the standard deviation over all
    models, and `spread_of_others` that over those that were trained on the section.
    """

    errors: Values
    spread: Values
    spread_of_others: Values
    features: Values


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("crossval", type=Path, help="folder that nh2st crossval wrote")
    parser.add_argument("data", type=Path, help="folder with her2st/ and mob/")
    parser.add_argument("--context", default="neighborhood", help="context of the models")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the speed")
    options = parser.parse_args()
    _print_speed(load_model(options.crossval / "model"), options.rounds)
    _print_recorded_coverage(load_model(options.crossval / "model"))
    models = _models(options.crossval / "folds", options.context)
    held = _held_out(models, options.data)
    _print_coverage(held)
    _print_spread(held)
    _print_unfamiliarity(held, next(iter(models.values())), options.data)


def _print_speed(model: Model, rounds: int) -> None:
    """CPU time of a tile with heads and without, in turns, each first in every other round."""
    times: dict[bool, list[float]] = {True: [], False: []}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "slide.tiff"
        write_synthetic_slide(path, seed=1, shape=(3000, 3000), mpp=1.0)
        with open_slide(path) as slide:
            for number in range(rounds + 1):
                for with_heads in (True, False) if number % 2 else (False, True):
                    settings = PredictSettings(device="cpu", step_um=100.0, spread=with_heads)
                    began = process_time()
                    tiles = predict(slide, model, settings).n_obs
                    times[with_heads].append((process_time() - began) / tiles)
    # What is loaded in the first round does not count.
    each = {which: [1000 * seconds for seconds in found[1:]] for which, found in times.items()}
    print(f"Speed over {rounds} rounds of {tiles} tiles: CPU time of a tile, ms")
    for which, words in ((True, "with heads"), (False, "without")):
        found = each[which]
        print(f"{words:<12}{median(found):.3f} ({min(found):.3f} to {max(found):.3f})")
    print(f"ratio of the medians {median(each[True]) / median(each[False]):.3f}")


def _print_recorded_coverage(model: Model) -> None:
    """What the cross-validation found itself: of intervals by spread, by what had not seen it."""
    rule = "gene" if model.config.usual_spread is None else "spread"
    print(f"\nCoverage that the cross-validation recorded, intervals by {rule}")
    for name, each in model.config.training["held_out"]["coverage"].items():
        print(f"{name:<9}{each['mean']:>7.1%}  genes {each['low']:.0%} to {each['high']:.0%}")


def _models(folds: Path, context: Context) -> dict[str, Model]:
    """The model that has not seen a section, by section; all of one encoder."""
    models = {
        fold.name: load_model(fold / context / "model")
        for fold in sorted(folds.iterdir())
        if (fold / context / "model").is_dir() and "+" not in fold.name  # without one section
    }
    first, *others = (model.network.image_encoder.state_dict() for model in models.values())
    for other in others:
        assert all(torch.equal(first[name], other[name]) for name in first), "encoders differ"
    return models


def _held_out(models: Mapping[str, Model], data: Path) -> dict[str, Held]:
    folder = data / "her2st"
    sections = [
        Section(
            name,
            "C",
            folder / "images" / f"{name}.jpg",
            folder / "counts" / f"{name}.tsv.gz",
            folder / "spots" / f"{name}_selection.tsv",
        )
        for name in models
    ]
    held = {}
    for measured in load_study(sections):
        own = models[measured.name]
        tiles = section_tiles(
            measured, own.config.panel, tile_px=own.config.tile_px, mpp=own.config.mpp
        )
        maps = _maps(own, tiles.tiles)
        predicted = {name: _predict(model, maps, tiles) for name, model in models.items()}
        others = [values for name, values in predicted.items() if name != measured.name]
        held[measured.name] = Held(
            tiles.target.astype(np.float64) - predicted[measured.name],
            np.std(list(predicted.values()), axis=0),
            np.std(others, axis=0),
            maps.mean((2, 3)).double().numpy(),
        )
    return held


@torch.inference_mode()
def _maps(model: Model, tiles: NDArray[np.uint8]) -> torch.Tensor:
    batches = torch.from_numpy(tiles).split(_BATCH)
    return torch.cat([model.network.encode(normalize_tiles(batch)) for batch in batches])


@torch.inference_mode()
def _predict(model: Model, maps: torch.Tensor, tiles: SectionTiles) -> Values:
    around, mask = torch.from_numpy(tiles.neighborhoods), torch.from_numpy(tiles.mask)
    return np.asarray(model.network.predict(maps, around, mask).double().numpy())


Method = Callable[[Sequence[Held], Held], Values]
"""Half widths for a section from others: (genes,) or (spots, genes)."""


def _plain(calibration: Sequence[Held], test: Held) -> Values:
    return conformal_half_width(np.concatenate([s.errors for s in calibration]), _COVERAGE)


def _scaled_by(spread: Callable[[Values, Values], Values]) -> Method:
    def half_width(calibration: Sequence[Held], test: Held) -> Values:
        everywhere = np.concatenate([s.spread for s in calibration]).mean(0)
        scaled = [s.errors / spread(s.spread, everywhere) for s in calibration]
        return conformal_half_width(np.concatenate(scaled), _COVERAGE) * spread(
            test.spread, everywhere
        )

    return half_width


def _scaled_by_unfamiliarity(calibration: Sequence[Held], test: Held) -> Values:
    """Each section's own from a fit without it, and none from a fit to the tested one."""
    features = [s.features for s in calibration]
    scales = [
        unfamiliarity(fit_familiar(features[:i] + features[i + 1 :]), own)[:, None]
        for i, own in enumerate(features)
    ]
    scaled = [s.errors / scale for s, scale in zip(calibration, scales, strict=True)]
    here = unfamiliarity(fit_familiar(features), test.features)[:, None]
    return conformal_half_width(np.concatenate(scaled), _COVERAGE) * here


def _of_sections(pick: Callable[[Values], Values]) -> Method:
    def half_width(calibration: Sequence[Held], test: Held) -> Values:
        return pick(np.array([conformal_half_width(s.errors, _COVERAGE) for s in calibration]))

    return half_width


_METHODS: dict[str, Method] = {
    "pooled": _plain,
    "pooled, scaled by spread": _scaled_by(lambda spread, mean: spread),
    "pooled, scaled by spread + mean": _scaled_by(lambda spread, mean: spread + mean),
    "pooled, scaled by unfamiliarity": _scaled_by_unfamiliarity,
    "mean of sections": _of_sections(lambda widths: widths.mean(0)),
    "2nd widest of sections": _of_sections(lambda widths: np.sort(widths, 0)[-2]),
    "widest of sections": _of_sections(lambda widths: widths.max(0)),
}


def _print_coverage(held: Mapping[str, Held]) -> None:
    print(f"\nCoverage of ± x for {_COVERAGE:.0%}, calibrated on the other sections")
    print(f"{'half width':<34}{'section':<9}{'coverage':>9}{'genes 10-90 %':>16}{'half width':>12}")
    for label, method in _METHODS.items():
        means = []
        for section, test in held.items():
            width = method([h for name, h in held.items() if name != section], test)
            share = covered(test.errors, width)
            means.append(share.mean())
            low, high = np.quantile(share, (0.1, 0.9))
            print(
                f"{label:<34}{section:<9}{share.mean():>9.1%}{f'{low:.0%} to {high:.0%}':>16}"
                f"{width.mean():>12.3f}"
            )
        reached = all(_LOWEST <= mean <= _HIGHEST for mean in means)
        print(
            f"{label:<34}{'all':<9}{np.mean(means):>9.1%}{'':>28}"
            f"  {_LOWEST:.0%} to {_HIGHEST:.0%} on each: {'yes' if reached else 'NO'}"
        )


def _print_spread(held: Mapping[str, Held]) -> None:
    print("\nSpread of the heads against the size of the error (Spearman over the spots)")
    print("of all heads, one of which has not seen the section, and of those that have")
    print(
        f"{'section':<9}{'mean error':>11}{'mean spread':>12}{'rho, genes':>12}{'rho, spots':>12}"
        f"{'rho, seen':>11}{'error, least / most unsure fifth':>34}"
    )
    for section, h in held.items():
        size = np.abs(h.errors)
        rho, rho_seen = (
            _spearman_by_gene(size, h.spread),
            _spearman_by_gene(size, h.spread_of_others),
        )
        by_spot = spearmanr(size.mean(1), h.spread.mean(1)).statistic
        ranks = rankdata(h.spread, axis=0) / len(h.spread)
        print(
            f"{section:<9}{size.mean():>11.3f}{h.spread.mean():>12.3f}{rho.mean():>12.3f}"
            f"{by_spot:>12.3f}{rho_seen.mean():>11.3f}"
            f"{size[ranks <= 0.2].mean():>26.3f} / {size[ranks > 0.8].mean():.3f}"
        )


def _spearman_by_gene(a: Values, b: Values) -> Values:
    return np.array([spearmanr(x, y).statistic for x, y in zip(a.T, b.T, strict=True)])


def _print_unfamiliarity(held: Mapping[str, Held], model: Model, data: Path) -> None:
    print("\nUnfamiliarity, fitted to the other sections: held-out breast against olfactory bulb")
    other = {f"MOB{n}": _bulb_features(model, data / "mob", f"MOB{n}") for n in (1, 2, 3)}
    print(
        f"{'left out':<10}{'median, training':>17}{'held out':>10}{'above 1':>9}"
        f"{'bulb':>7}{'above 1':>9}"
        + "".join(f"{'AUC ' + name:>10}" for name in other)
        + f"{'rho, error':>12}"
    )
    worst = 1.0
    for section, h in held.items():
        training = [other.features for name, other in held.items() if name != section]
        familiar = fit_familiar(training)
        seen, own = (unfamiliarity(familiar, f) for f in (np.concatenate(training), h.features))
        away = [unfamiliarity(familiar, f) for f in other.values()]
        aucs = [_auc(own, u) for u in away]
        worst = min(worst, *aucs)
        rho = spearmanr(own, np.abs(h.errors).mean(1)).statistic
        every = np.concatenate(away)
        print(
            f"{section:<10}{np.median(seen):>17.2f}{np.median(own):>10.2f}{(own > 1).mean():>9.1%}"
            f"{np.median(every):>7.2f}{(every > 1).mean():>9.1%}"
            + "".join(f"{auc:>10.3f}" for auc in aucs)
            + f"{rho:>12.3f}"
        )
    reached = "yes" if worst >= _WANTED_AUC else "NO"
    print(f"least AUC {worst:.3f} (wanted {_WANTED_AUC}): {reached}")


def _auc(near: Values, far: Values) -> float:
    return float(
        roc_auc_score(np.repeat((0, 1), (len(near), len(far))), np.concatenate((near, far)))
    )


def _bulb_features(model: Model, folder: Path, name: str) -> Values:
    spots = read_spots(folder / f"{name}.tsv.gz", folder / f"alignment_table_{name}.tsv")
    mpp = _PITCH_UM / spot_array(spots).pitch_px
    tiles, readable = read_tiles(
        folder / f"{name}.jpg",
        (mpp, mpp),
        centers(spots),
        tile_px=model.config.tile_px,
        mpp=model.config.mpp,
    )
    return _maps(model, tiles[readable]).mean((2, 3)).double().numpy()


if __name__ == "__main__":
    main()
