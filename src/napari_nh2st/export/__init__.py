"""Predictions in the formats of other tools. Names are loaded when first used."""

import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import lazy_loader

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_nh2st.export.figure_settings import FigureSettings
    from napari_nh2st.export.formats import FORMATS, Format, export, format_of
    from napari_nh2st.export.plot import plot_genes
    from napari_nh2st.export.table import prediction_table, write_table
    from napari_nh2st.prediction.files import check_output, read_anndata_file, write_anndata

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

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "figure_settings": ["FigureSettings"],
        "formats": [
            "FORMATS",
            "Format",
            "check_output",
            "export",
            "format_of",
            "read_anndata_file",
            "write_anndata",
        ],
        "plot": ["plot_genes"],
        "table": ["prediction_table", "write_table"],
    },
)


class _CallableModule(ModuleType):
    """The module, which `napari_nh2st.export(prediction, path)` calls like its function."""

    def __call__(self, prediction: "AnnData", path: str | os.PathLike[str], **options: Any) -> None:
        from napari_nh2st.export.formats import export

        export(prediction, path, **options)


sys.modules[__name__].__class__ = _CallableModule
