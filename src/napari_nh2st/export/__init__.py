"""Predictions in the formats of other tools."""

import os
import sys
from types import ModuleType
from typing import Any

from anndata import AnnData

from napari_nh2st.export.formats import FORMATS, Format, export, format_of
from napari_nh2st.export.table import prediction_table, write_table
from napari_nh2st.prediction.files import check_output, read_anndata_file, write_anndata

__all__ = [
    "FORMATS",
    "Format",
    "check_output",
    "export",
    "format_of",
    "prediction_table",
    "read_anndata_file",
    "write_anndata",
    "write_table",
]


class _CallableModule(ModuleType):
    """The module, which `napari_nh2st.export(prediction, path)` calls like its function."""

    def __call__(self, prediction: AnnData, path: str | os.PathLike[str], **options: Any) -> None:
        export(prediction, path, **options)


sys.modules[__name__].__class__ = _CallableModule
