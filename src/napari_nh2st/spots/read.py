"""Measured spatial transcriptomics, whatever wrote it."""

import json
import os
from pathlib import Path
from typing import Any

import h5py
from anndata import AnnData

from napari_nh2st.errors import InputError
from napari_nh2st.regular_files import check_regular
from napari_nh2st.spots.anndata_files import read_anndata
from napari_nh2st.spots.samples import is_matrix
from napari_nh2st.spots.space_ranger import is_space_ranger, read_space_ranger
from napari_nh2st.spots.spatialdata_store import read_spatialdata
from napari_nh2st.spots.st_tables import is_table, read_st_tables


def read_spots(
    path: str | os.PathLike[str],
    positions: str | os.PathLike[str] | None = None,
    *,
    library: str | None = None,
    bin_um: int | None = None,
    coordinate_system: str | None = None,
) -> AnnData:
    """Read raw counts and the positions at which they were measured.

    Parameters
    ----------
    path
        - ``.h5ad`` or AnnData ``.zarr`` (scanpy, squidpy, CELLxGENE, HEST-1k);
        - the folder ``outs`` of Space Ranger, Visium or Visium HD, or a feature-barcode matrix:
          ``filtered_feature_bc_matrix.h5``, any other 10x ``.h5``, or ``matrix.mtx``;
        - a folder from GEO, where the names of each sample's files begin with the sample's name;
        - a table of counts of a legacy array (``.tsv``, ``.tsv.gz``, ``.csv``), spots named
          ``{x}x{y}``, as rows or as columns;
        - a SpatialData ``.zarr``, with the extra ``napari-nh2st[spatialdata]``.
    positions
        For tables of counts: the table with ``x``, ``y``, ``pixel_x``, ``pixel_y`` and, if
        known, ``selected``. For Space Ranger: a positions file that lies elsewhere.
    library
        Which section of an AnnData with several, which sample of a folder, or which table or region
        of a SpatialData.
    bin_um
        Side of Visium HD's bins in µm; None for the largest in the file.
    coordinate_system
        The coordinate system of a SpatialData that is in full-resolution pixels. None for the one
        in which the shapes have the identity as their transformation, else ``"global"``.

    Returns
    -------
    AnnData
        Spots × genes; only spots that have counts and lie under tissue:

        - ``X``: raw counts, float32, sparse (CSR);
        - ``obsm["spatial"]``: (x, y) in full-resolution pixels, also as
          ``obs["pxl_col_in_fullres"]`` and ``obs["pxl_row_in_fullres"]``;
        - ``obs["array_row"]``, ``obs["array_col"]``, if the spots are on an array;
        - ``var_names``: gene names, each once (columns of the same name are added up), Ensembl ids
          without version; ``var["gene_ids"]`` if known;
        - ``uns["nh2st_spots"]``: ``source``, ``format``, ``pitch_um`` if the file or its format
          gives it, and ``report``, one line on what was read, left out and added up. If the file
          holds several parts, ``offered`` and ``chosen`` give their names by argument;
        - ``uns["spatial"]``: the section's pictures and scale factors as in the file, if any.

    Raises
    ------
    ChoiceNeeded
        The file holds several sections and none was chosen; an InputError with their names.
    InputError
        The path does not exist, is in an unknown format, or is malformed; the message names the
        file, row and column.

    Examples
    --------
    .. code-block:: python

        spots = read_spots("C6.tsv.gz", "C6_selection.tsv")
        print(spots.uns["nh2st_spots"]["report"])
        # C6.tsv.gz: 178 spots × 15772 genes (legacy ST table); 1 with a position but no counts
        # left out
    """
    place = Path(path).expanduser().absolute()
    where = None if positions is None else Path(positions).expanduser().absolute()
    for needed in (place, where):
        if needed is not None and not needed.exists():
            raise InputError(f"{needed}: there is no such file or folder")
        if needed is not None:
            check_regular(needed, whole_folder=True)
    suffix = place.suffix.lower()
    if (place.is_file() and suffix == ".h5ad") or _is_anndata_h5(place):
        _leave_out(place, positions=where, bin_um=bin_um, coordinate_system=coordinate_system)
        return read_anndata(place, library)
    if is_matrix(place) or (place.is_dir() and is_space_ranger(place)):
        _leave_out(place, coordinate_system=coordinate_system)
        return read_space_ranger(place, where, bin_um, library)
    if is_table(place):
        _leave_out(place, library=library, bin_um=bin_um, coordinate_system=coordinate_system)
        return read_st_tables(place, where)
    attributes = _zarr_attributes(place) if place.is_dir() else {}
    if "spatialdata_attrs" in attributes:
        _leave_out(place, positions=where)
        return read_spatialdata(place, library, bin_um, coordinate_system)
    if is_spots_store(place):
        _leave_out(place, positions=where, bin_um=bin_um, coordinate_system=coordinate_system)
        return read_anndata(place, library)
    raise InputError(
        f"{place} cannot be read as spots: give an .h5ad, an AnnData or SpatialData .zarr, Space "
        "Ranger's outs folder or matrix, or a table (.tsv, .tsv.gz) of a legacy array"
    )


def is_spots_store(folder: Path) -> bool:
    """Whether a folder is an AnnData or SpatialData, and no picture."""
    attributes = _zarr_attributes(folder)
    if attributes.get("encoding-type") == "anndata" or (folder / "obsm").is_dir():
        return True
    return "spatialdata_attrs" in attributes


def needs_positions(path: Path) -> bool:
    """Whether a file is a table of counts, which has no positions at all."""
    return is_table(path) and not is_matrix(path)


def takes_positions(path: Path) -> bool:
    """Whether positions can be given beside a file or folder: it has none of its own within."""
    return is_table(path) or is_matrix(path) or (path.is_dir() and is_space_ranger(path))


def _leave_out(place: Path, **given: object) -> None:
    """Refuse what says nothing of a file of this kind."""
    for name, value in given.items():
        if value is not None and name == "positions":
            raise InputError(f"{place} has positions of its own; leave the positions table out")
        if value is not None:
            raise InputError(f"{place} has no {name} to choose from; leave {name}={value!r} out")


def _is_anndata_h5(path: Path) -> bool:
    """Whether a file that is not named so is AnnData."""
    if path.suffix.lower() not in (".h5", ".hdf5") or not path.is_file():
        return False
    try:
        with h5py.File(path) as file:
            return "obs" in file and "var" in file
    except OSError:
        return False


def _zarr_attributes(folder: Path) -> dict[str, Any]:
    """Attributes of a zarr group of format 2 or 3; empty if it is none."""
    for name, key in (("zarr.json", "attributes"), (".zattrs", None)):
        file = folder / name
        if file.exists():
            try:
                content = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            attributes = content.get(key, {}) if key and isinstance(content, dict) else content
            return attributes if isinstance(attributes, dict) else {}
    return {}
