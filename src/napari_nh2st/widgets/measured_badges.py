"""Check that lets a slide's own measured scores be the badges of its genes."""

from qtpy.QtWidgets import QCheckBox
from superqt.utils import signals_blocked

from napari_nh2st.session import Session
from napari_nh2st.session.connections import Connections


class MeasuredBadgesBox(QCheckBox):
    """Offers a comparison's scores as the badges of the slide; hidden where there are none.

    Parameters
    ----------
    session
        Has the heatmap and the comparisons.
    connections
        Connections of the dock.
    """

    def __init__(self, session: Session, connections: Connections) -> None:
        super().__init__()
        self._badges = session.measured_badges
        self.setToolTip(
            "Let the badges say how well each gene agrees with the measurement on this very "
            "slide, instead of on the sections that the model was tested on; untick to go back"
        )
        self.toggled.connect(self._badges.use)
        connections.add(self._badges.changed, self.show_offer)
        connections.when_opened(self.show_offer)
        self.show_offer()

    def show_offer(self) -> None:
        """Show whether there is an offer, and whether it was taken."""
        spots = self._badges.n_spots
        with signals_blocked(self):
            self.setChecked(self._badges.are_used)
        counted = f" ({spots:,} spots)" if spots else ""
        self.setText(f"Badges from this slide{counted}")
        self.setVisible(bool(spots) or self._badges.are_used)
