"""Predictions in the formats of other tools."""

from napari_nh2st.export.anndata_file import check_output, write_anndata

__all__ = ["check_output", "write_anndata"]
