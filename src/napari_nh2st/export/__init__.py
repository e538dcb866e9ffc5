"""Predictions in the formats of other tools."""

import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import lazy_loader
from anndata import AnnData

from napari_nh2st.export.formats import FORMATS, Format, export, format_of
from napari_nh2st.export.table import prediction_table, write_table
from napari_nh2st.prediction.files import check_output, read_anndata_file, write_anndata

if TYPE_CHECKING:
    from napari_nh2st.export.figure import FigureSettings
    from napari_nh2st.export.plot import plot_genes

__all__ = [
    "FORMATS",
    "FigureSettings",
    "Format",
    "check_output",
    "export",
    "format_of",
    "plot_genes",
    "prediction_table",
    "read_anndata_file",
    "write_anndata",
    "write_table",
]

# Loaded when first used: what draws is not needed to write files.
__getattr__, _, _ = lazy_loader.attach(
    __name__, submod_attrs={"figure": ["FigureSettings"], "plot": ["plot_genes"]}
)


class _CallableModule(ModuleType):
    """The module, which `napari_nh2st.export(prediction, path)` calls like its function."""

    def __call__(self, prediction: AnnData, path: str | os.PathLike[str], **options: Any) -> None:
        export(prediction, path, **options)


sys.modules[__name__].__class__ = _CallableModule
