"""Predictions in the formats of other tools."""

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
