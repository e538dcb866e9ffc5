"""Synthetic sections as files: slides with their expression, and the table of a study."""

import os
from collections.abc import Sequence
from pathlib import Path

from napari_nh2st.export import write_anndata
from napari_nh2st.spots import Section, write_sections

from .expression import ProgrammeSettings, synthetic_spots
from .tissue import SyntheticTissue
from .writing import write_synthetic_slide


def write_synthetic_section(
    folder: str | os.PathLike[str],
    seed: int = 0,
    *,
    size_um: tuple[float, float] = (3000.0, 3000.0),
    mpp: float = 1.0,
    settings: ProgrammeSettings | None = None,
    donor: str | None = None,
) -> Section:
    """Write a synthetic slide and its expression.

    Parameters
    ----------
    folder
        Folder for ``synthetic-{seed}.tiff`` and ``synthetic-{seed}.h5ad``; created if it does not
        exist. Synthetic files of these names are replaced, others never.
    seed
        Seed of the tissue.
    size_um
        (height, width) of the slide in µm. The default has some 120 to 150 spots.
    mpp
        µm per pixel of the slide.
    settings
        How expression follows the tissue; None for the defaults.
    donor
        Id of the donor; None for ``donor-{seed}``.

    Returns
    -------
    Section
        ``read_spots(section.expression)`` returns the measured counts, ``anndata.read_h5ad`` also
        the truth.

    Raises
    ------
    ValueError
        The slide is too small for spots, or the µm/px is out of range.
    OSError, InputError
        The files cannot be written.
    """
    height, width = (round(size / mpp) for size in size_um)
    tissue = SyntheticTissue(seed, (height, width), mpp)
    spots = synthetic_spots(tissue, settings)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"synthetic-{seed}"
    slide = write_synthetic_slide(folder / f"{name}.tiff", seed, tissue.shape, mpp)
    expression = folder / f"{name}.h5ad"
    write_anndata(spots, expression, overwrite=True, mark="nh2st_synthetic")
    return Section(name, f"donor-{seed}" if donor is None else donor, slide, expression)


def write_synthetic_study(
    folder: str | os.PathLike[str],
    seeds: Sequence[int],
    *,
    donors: Sequence[str] | None = None,
    size_um: tuple[float, float] = (3000.0, 3000.0),
    mpp: float = 1.0,
    settings: ProgrammeSettings | None = None,
) -> Path:
    """Write synthetic sections and the table that :func:`~napari_nh2st.spots.read_sections` reads.

    Parameters
    ----------
    folder
        Folder to write to; created if it does not exist.
    seeds
        Seeds of the sections, one each.
    donors
        Donor of each section; None for a donor of its own.
    size_um, mpp, settings
        As for `write_synthetic_section`.

    Returns
    -------
    Path
        ``sections.csv`` in the folder; its paths are relative to it.

    Raises
    ------
    ValueError
        A seed occurs twice, the numbers of donors and seeds differ, or as for
        `write_synthetic_section`.
    OSError, InputError
        The files cannot be written.

    Examples
    --------
    .. code-block:: python

        table = write_synthetic_study("study", seeds=(1, 2, 3))
        sections = load_study(read_sections(table))
    """
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"Each section needs a seed of its own, not {list(seeds)}.")
    if donors is not None and len(donors) != len(seeds):
        raise ValueError(f"There are {len(donors)} donors for {len(seeds)} sections.")
    sections = [
        write_synthetic_section(
            folder,
            seed,
            size_um=size_um,
            mpp=mpp,
            settings=settings,
            donor=None if donors is None else donors[k],
        )
        for k, seed in enumerate(seeds)
    ]
    path = Path(folder) / "sections.csv"
    write_sections(sections, path)
    return path
