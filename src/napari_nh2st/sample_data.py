"""The sample slides: a real H&E section, downloaded once, and a synthetic one that works offline.

`real_sample` and `synthetic_sample` are what napari's *File › Open Sample* calls; the other
functions need no napari and give the files' paths.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pooch

from .cache import cache_folder
from .errors import InputError
from .synthetic import DRAWING_VERSION, write_synthetic_slide

if TYPE_CHECKING:
    from napari.types import LayerData

REAL_SLIDE: Final = "CMU-1-Small-Region.svs"
"""Aperio slide of OpenSlide's test data, 2220 × 2967 px at 0.499 µm/px; CC0."""

REAL_SLIDE_URL: Final = (
    f"https://openslide.cs.cmu.edu/download/openslide-testdata/Aperio/{REAL_SLIDE}"
)
REAL_SLIDE_SHA256: Final = "ed92d5a9f2e86df67640d6f92ce3e231419ce127131697fbbce42ad5e002c8a7"

_TIMEOUT_S = (5.0, 30.0)  # to connect, and between two pieces of the file


def real_sample() -> list["LayerData"]:
    """The real sample slide as napari layers, downloaded if need be.

    Raises
    ------
    InputError
        The slide is neither cached nor can it be downloaded.
    """
    return _layers(real_slide_path())


def synthetic_sample() -> list["LayerData"]:
    """The synthetic sample slide as napari layers, drawn if need be."""
    return _layers(synthetic_slide_path())


def sample_slide() -> tuple[Path, str]:
    """The real sample slide where it can be had, else the synthetic one.

    Returns
    -------
    path, words
        The slide's file, and a sentence saying which slide it is and why.
    """
    try:
        path = real_slide_path()
    except InputError as error:
        words = f"Sample: a synthetic H&E slide drawn by napari-nh2st, not the real one. {error}"
        return synthetic_slide_path(), words
    return path, f"Sample: a real H&E section, {REAL_SLIDE} (OpenSlide test data, CC0)."


def real_slide_path(download: bool = True) -> Path:
    """Where the real sample slide lies on this machine.

    Taken from `$NH2ST_TEST_DATA/slides` or the cache folder, else downloaded into the latter;
    always checked by its sha256.

    Parameters
    ----------
    download
        Whether it may be downloaded.

    Raises
    ------
    InputError
        It is not on this machine and may not or cannot be downloaded, or what came is another file.
    """
    folder = cache_folder("samples")
    places = [folder / REAL_SLIDE]
    if test_data := os.environ.get("NH2ST_TEST_DATA"):
        places.insert(0, Path(test_data) / "slides" / REAL_SLIDE)
    for place in places:
        if _is_real_slide(place):
            return place
    if not download:
        raise InputError(f"The real sample slide {REAL_SLIDE} is not on this machine yet.")
    return _download(folder)


def synthetic_slide_path(seed: int = 0) -> Path:
    """The synthetic sample slide (4096 × 4096 px at 0.5 µm/px), drawn once and kept in the cache.

    Parameters
    ----------
    seed
        Another seed is another section.
    """
    path = cache_folder("samples") / f"synthetic-he-v{DRAWING_VERSION}-seed{seed}.tiff"
    return path if path.is_file() else write_synthetic_slide(path, seed=seed)


def _layers(path: Path) -> list["LayerData"]:
    from napari_nh2st.layers.reader import read_slide

    return read_slide(path)


def _is_real_slide(path: Path) -> bool:
    try:
        return path.is_file() and pooch.file_hash(str(path), alg="sha256") == REAL_SLIDE_SHA256
    except OSError:
        return False


def _download(folder: Path) -> Path:
    try:
        name: str = pooch.retrieve(
            REAL_SLIDE_URL,
            known_hash=f"sha256:{REAL_SLIDE_SHA256}",
            fname=REAL_SLIDE,
            path=folder,
            downloader=pooch.HTTPDownloader(timeout=_TIMEOUT_S),
        )
    except OSError as error:  # those of requests among them
        raise InputError(
            f"The real sample slide cannot be downloaded from {REAL_SLIDE_URL} "
            f"({type(error).__name__}): check the connection, or use the synthetic one."
        ) from error
    except ValueError as error:  # how pooch says that the sha256 differs; it keeps no such file
        raise InputError(
            f"What {REAL_SLIDE_URL} sent is not the sample slide: its sha256 is not the one known, "
            f"so it was not kept."
        ) from error
    return Path(name)
