"""The command ``nh2st``."""

from napari_nh2st.cli.main import main

__all__ = ["main"]
