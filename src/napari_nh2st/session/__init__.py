"""Contents of one viewer: slides, predictions, and what is shown of them."""

from napari_nh2st.session.session import Session

__all__ = ["Session"]
