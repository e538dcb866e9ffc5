"""Menu of the µm/px that scans usually have."""

from collections.abc import Callable

from qtpy.QtWidgets import QMenu, QToolButton, QWidget

from napari_nh2st.slide.usual_mpp import usual_values


class UsualMppButton(QToolButton):
    """Offers the usual values in a menu.

    Parameters
    ----------
    take
        Called with the value that is chosen.
    """

    def __init__(self, take: Callable[[float], None], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._take = take
        self._menu = QMenu(self)
        self.setText("▾")
        self.setToolTip("Usual values of µm/px, and the size that each makes of this image")
        self.setMenu(self._menu)
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.offer_for(None)

    def offer_for(self, shape: tuple[int, int] | None) -> None:
        """Offer them for an image, (height, width) in pixels."""
        self._menu.clear()
        for value in usual_values(shape):
            action = self._menu.addAction(value.words)
            assert action is not None
            action.triggered.connect(lambda _checked, mpp=value.mpp: self._take(mpp))
