"""Samples of a folder, recognized by the names of its files.

Space Ranger writes a folder a sample, with the same names in each; GEO has the samples of a study
in one folder, each file with its sample's prefix. All Visium slides share their barcodes, so that
positions of another sample fit, and only the names show it.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py

from napari_nh2st.errors import InputError
from napari_nh2st.spots.choice import choice_needed

Sample = tuple[str, ...]
"""A sample's name in words: those of a file's name that do not say what kind of file it is."""

_KIND_WORDS = frozenset(
    {"filtered", "raw", "feature", "features", "bc", "matrix", "barcodes", "genes", "counts"}
    | {"tissue", "positions", "position", "list", "scalefactors", "json", "spatial", "outs"}
)
_ENDINGS = re.compile(r"\.(h5|mtx|tsv|csv|txt|json|parquet)(\.gz)?$", re.IGNORECASE)
_MATRIX = re.compile(r"(filtered|raw)_feature_bc_matrix[^.]*(\.h5)?$", re.IGNORECASE)
_TRIPLE = re.compile(r"matrix\.mtx(\.gz)?$", re.IGNORECASE)
_OF_TRIPLE = re.compile(r"(matrix\.mtx|(barcodes|features|genes)\.tsv)(\.gz)?$", re.IGNORECASE)
_POSITIONS = re.compile(r"tissue_positions[^.]*\.(parquet|csv|csv\.gz)$", re.IGNORECASE)
_SCALE_FACTORS = re.compile(r"scalefactors[^.]*\.json(\.gz)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Matrix:
    """A feature-barcode matrix.

    Parameters
    ----------
    path
        The ``.h5``, the folder of three files, or ``matrix.mtx`` among them.
    sample
        What its name says beside the kind of file.
    is_raw
        Whether it has all barcodes, also those beside the tissue; None where its name does not say.
    """

    path: Path
    sample: Sample
    is_raw: bool | None

    @property
    def name(self) -> str:
        """Name of the sample; of the file where that has no prefix."""
        return "_".join(self.sample) or self.path.name


@dataclass(frozen=True)
class Found:
    """A file that goes with a matrix.

    Parameters
    ----------
    path
        The file.
    sample
        By its name.
    is_certain
        Whether that is the matrix's; else it is the only one that may go with it.
    """

    path: Path
    sample: Sample
    is_certain: bool


def is_matrix(path: Path) -> bool:
    """Whether a file is a feature-barcode matrix, by its name, or an HDF5 file's content."""
    if _OF_TRIPLE.search(path.name) or _MATRIX.search(path.name):
        return True
    return path.suffix.lower() == ".h5" and path.is_file() and _is_10x(path)


def has_samples(folder: Path) -> bool:
    """Whether matrices or positions of Space Ranger lie in a folder by themselves."""
    return any(
        _MATRIX.search(path.name) or _TRIPLE.search(path.name) or _POSITIONS.search(path.name)
        for path in _visible(folder)
    )


def matrix_at(path: Path) -> tuple[Path, Matrix]:
    """The matrix that a path is or belongs to, and the folder of its sample.

    Parameters
    ----------
    path
        A matrix, or one of its three files.
    """
    if _OF_TRIPLE.search(path.name):
        if not sample_of(path) and _MATRIX.search(path.parent.name):
            path = path.parent
        elif not _TRIPLE.search(path.name):
            ending = _OF_TRIPLE.search(path.name)
            stem = path.name[: ending.start()] if ending else ""
            triples = [path.with_name(f"{stem}matrix.mtx{gz}") for gz in (".gz", "")]
            path = next((file for file in triples if file.exists()), triples[0])
    return path.parent, _matrix(path)


def matrices_in(folder: Path) -> dict[Sample, Matrix]:
    """One matrix of each sample in a folder: the filtered one, HDF5 before folders and triples."""
    found = [
        _matrix(path)
        for path in _visible(folder)
        if "probe" not in path.name.lower()
        and (_MATRIX.search(path.name) or _TRIPLE.search(path.name))
        and (path.suffix.lower() == ".h5" or path.is_dir() or _TRIPLE.search(path.name))
    ]
    if not found:
        found = [
            _matrix(path)
            for path in _visible(folder)
            if path.suffix.lower() == ".h5" and _is_10x(path)
        ]
    best: dict[Sample, Matrix] = {}
    for matrix in sorted(found, key=lambda m: (bool(m.is_raw), not _is_h5(m), not m.path.is_dir())):
        best.setdefault(matrix.sample, matrix)
    return best


def choose_matrix(folder: Path, wanted: str | None) -> Matrix:
    """The matrix of a folder, or that of the sample that is named.

    Raises
    ------
    ChoiceNeeded
        There are several samples, and none is named.
    InputError
        There is no matrix, or none of this sample.
    """
    found = {matrix.name: matrix for matrix in matrices_in(folder).values()}
    if not found:
        raise InputError(
            f"{folder}: there is no filtered_feature_bc_matrix.h5 and no folder "
            "filtered_feature_bc_matrix in it"
        )
    if wanted is not None and wanted not in found:
        raise InputError(f"{folder}: there is no sample {wanted!r}; there are {', '.join(found)}")
    if wanted is None and len(found) > 1:
        raise choice_needed(folder, "samples", "library", sorted(found))
    return found[wanted] if wanted is not None else next(iter(found.values()))


def positions_for(matrix: Matrix, folder: Path) -> Found:
    """The table of positions that goes with a matrix.

    Raises
    ------
    InputError
        There is none in the folder and its ``spatial``, or none whose name goes with the matrix's.
    """
    candidates = _candidates(folder, _POSITIONS)
    if not candidates:
        raise InputError(f"{folder / 'spatial'}: there is no tissue_positions file in it")
    found = _match(matrix.sample, _others(matrix, folder), candidates)
    if found is None:
        names = ", ".join(str(path.relative_to(folder)) for path in candidates.values())
        raise InputError(
            f"{folder}: which positions are those of {matrix.path.name} is not clear from their "
            f"names ({names}); give both the same prefix, or give the file of positions as well"
        )
    return found


def scale_factors_for(matrix: Matrix, positions: Sample, folder: Path) -> tuple[Path | None, str]:
    """The scale factors that go with a matrix and its positions, if any; and a note if none do."""
    candidates = _candidates(folder, _SCALE_FACTORS)
    if not candidates:
        return None, ""
    others = _others(matrix, folder)
    found = _match(matrix.sample, others, candidates)
    if (found is None or not found.is_certain) and positions in candidates:
        return candidates[positions], ""
    if found is not None:
        return found.path, ""
    names = ", ".join(path.name for path in candidates.values())
    return None, f"scale factors of other samples left out ({names})"


def sample_of(path: Path) -> Sample:
    """What a file's name says of its sample."""
    stem = _ENDINGS.sub("", path.name)
    words = [word for word in re.split(r"[_\-.\s]+", stem) if word]
    return tuple(word for word in words if word.lower() not in _KIND_WORDS)


def _visible(folder: Path) -> list[Path]:
    """What lies in a folder, but for what macOS leaves there: ``._NAME`` beside each file NAME."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _matrix(path: Path) -> Matrix:
    name = path.name.lower()
    is_raw = True if "raw" in name else False if "filtered" in name else None
    return Matrix(path, sample_of(path), is_raw)


def _others(matrix: Matrix, folder: Path) -> list[Sample]:
    return [sample for sample in matrices_in(folder) if sample != matrix.sample]


def _candidates(folder: Path, kind: re.Pattern[str]) -> dict[Sample, Path]:
    """Files of a kind by sample; those of ``spatial`` before those beside the matrix."""
    plain = folder / "spatial"
    places = [plain] if plain.is_dir() else []
    beside = [path for path in _visible(folder) if path.is_dir()]
    places += [path for path in beside if path.name.endswith("spatial") and path != plain]
    places += [path / "spatial" for path in beside if (path / "spatial").is_dir()]
    found: dict[Sample, Path] = {}
    for place in [*places, folder]:
        # Of two tables of one sample, parquet before CSV, and the one with a header first.
        files = [path for path in _visible(place) if kind.search(path.name)]
        for file in sorted(files, key=lambda p: (".csv" in p.name, "list" in p.name, p.name)):
            named_by = place.parent if place.name == "spatial" and place != plain else place
            of_folder = () if place in (plain, folder) else sample_of(named_by)
            found.setdefault(sample_of(file) or of_folder, file)
    return found


def _match(
    sample: Sample, others: Collection[Sample], candidates: Mapping[Sample, Path]
) -> Found | None:
    """The candidate of a sample: of its name, or the only one whose name may be part of it."""
    if sample in candidates:
        return Found(candidates[sample], sample, True)
    may_be = [
        name
        for name in candidates
        if _is_part(name, sample) and not any(_is_part(name, other) for other in others)
    ]
    if len(may_be) != 1:
        return None
    return Found(candidates[may_be[0]], may_be[0], False)


def _is_part(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether one of two names has all words of the other."""
    return set(one) <= set(other) or set(other) <= set(one)


def _is_h5(matrix: Matrix) -> bool:
    return matrix.path.suffix.lower() == ".h5"


def _is_10x(path: Path) -> bool:
    try:
        with h5py.File(path) as file:
            return "matrix/barcodes" in file and "matrix/indptr" in file
    except OSError:
        return False
