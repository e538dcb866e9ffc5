"""Measures how well tissue is found, on sections whose measured spots say where it is.

Usage: ``python benchmarks/tissue.py DATA [--fade 0.3] [--pictures FOLDER]``; see README.md.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from scipy.spatial import KDTree

from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.model import bundled_models, load_model
from napari_nh2st.slide import Slide, open_slide
from napari_nh2st.slide.overview import slide_overview
from napari_nh2st.spots import read_spots
from napari_nh2st.spots.array import spot_array
from napari_nh2st.tiles import TissueMask
from napari_nh2st.tiles.mask import MASK_UM_PER_PX, stained

_PITCH_UM = 200.0
_MIN_AREA_UM2 = 20_000
_FAR_PITCHES = 2
_WANTED_SPOTS, _WANTED_GLASS = 0.97, 0.02


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with her2st/ and mob/")
    parser.add_argument(
        "--fade", type=float, nargs="*", default=[0.3], help="shares of the stain to measure with"
    )
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each mask")
    options = parser.parse_args()
    model = load_model(next(iter(bundled_models())))
    print("spots with a tile: share of the measured spots whose own tile has enough tissue")
    print(f"glass as tissue: share of what is {_FAR_PITCHES} pitches or more from any spot\n")
    print(
        f"{'section':<14}{'spots':>7}{'without':>9}{'with a tile':>13}{'glass as tissue':>17}"
        f"{'CPU s':>7}"
    )
    missing, n_spots, worst_glass = 0, 0, 0.0
    for name, image, spots in _sections(options.data):
        mpp = _PITCH_UM / spot_array(spots).pitch_px
        with open_slide(image, mpp=mpp) as slide:
            picture = slide_overview(slide, MASK_UM_PER_PX / mpp)
            for fade in (1.0, *options.fade):
                seconds = time.process_time()
                mask = _mask(slide, faded(picture, fade), mpp)
                seconds = time.process_time() - seconds
                tile = model.config.tile_um / mpp
                xy = np.asarray(spots.obsm["spatial"], float)
                share = mask.fraction(xy[:, ::-1] - tile / 2, (tile, tile))
                without = int((share < PredictSettings().min_tissue).sum())
                far = _far(mask, xy, _FAR_PITCHES * _PITCH_UM / mpp)
                glass = float(mask.tissue[far].mean())
                label = name if fade == 1 else f"{name}, {fade:.0%}"
                print(
                    f"{label:<14}{len(xy):>7}{without:>9}{1 - without / len(xy):>13.1%}"
                    f"{glass:>17.2%}{seconds:>7.2f}",
                    flush=True,
                )
                if fade == 1:
                    missing, n_spots = missing + without, n_spots + len(xy)
                    worst_glass = max(worst_glass, glass)
                if options.pictures is not None:
                    _draw(options.pictures / f"{label}.png", faded(picture, fade), mask, xy)
    reached = 1 - missing / n_spots >= _WANTED_SPOTS and worst_glass <= _WANTED_GLASS
    print(
        f"\nas stained: {1 - missing / n_spots:.1%} of {n_spots} spots have a tile (wanted "
        f"{_WANTED_SPOTS:.0%}); at most {worst_glass:.2%} of the glass is taken for tissue (wanted "
        f"{_WANTED_GLASS:.0%}): {'yes' if reached else 'NO'}"
    )


def faded(picture: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """The section with only a share of its stain: every optical density times that share."""
    if share == 1:
        return picture
    glass = np.percentile(picture.reshape(-1, 3), 95, axis=0)
    less = glass * np.clip(picture / glass, 1 / 255, None) ** share
    return np.clip(np.rint(less), 0, 255).astype(np.uint8)


def _sections(data: Path) -> Iterator[tuple[str, Path, AnnData]]:
    for number in range(2, 7):
        folder, name = data / "her2st", f"C{number}"
        positions = folder / "spots" / f"{name}_selection.tsv"
        spots = read_spots(folder / "counts" / f"{name}.tsv.gz", positions)
        yield name, folder / "images" / f"{name}.jpg", spots
    for number in range(1, 4):
        folder, name = data / "mob", f"MOB{number}"
        positions = folder / f"alignment_table_{name}.tsv"
        spots = read_spots(folder / f"{name}.tsv.gz", positions)
        yield name, folder / f"{name}.jpg", spots


def _mask(slide: Slide, picture: NDArray[np.uint8], mpp: float) -> TissueMask:
    factor = slide.shape[0] / picture.shape[0], slide.shape[1] / picture.shape[1]
    least = max(1, round(_MIN_AREA_UM2 / (mpp**2 * factor[0] * factor[1])))
    return TissueMask(stained(picture, least), factor)


def _far(mask: TissueMask, xy: NDArray[np.float64], distance: float) -> NDArray[np.bool_]:
    rows, columns = (
        (np.arange(n) + 0.5) * f for n, f in zip(mask.tissue.shape, mask.downsample, strict=True)
    )
    pixels = np.stack(np.meshgrid(columns, rows), -1)
    nearest, _ = KDTree(xy).query(pixels.reshape(-1, 2), distance_upper_bound=distance)
    return np.isinf(nearest).reshape(mask.tissue.shape)


def _draw(
    path: Path, picture: NDArray[np.uint8], mask: TissueMask, xy: NDArray[np.float64]
) -> None:
    from matplotlib.figure import Figure

    path.parent.mkdir(parents=True, exist_ok=True)
    axes = (figure := Figure(figsize=(8, 8))).add_axes((0, 0, 1, 1))
    axes.imshow(picture)
    axes.contour(mask.tissue, [0.5], colors="lime", linewidths=0.8)
    axes.scatter(*(xy / mask.downsample[::-1]).T, s=3, c="black")
    axes.axis("off")
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
