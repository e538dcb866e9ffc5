"""*Forget kept results*: measures them, asks, and deletes them in a thread."""

from pathlib import Path

from psygnal import Signal
from qtpy.QtWidgets import QMessageBox, QPushButton, QWidget

from napari_nh2st.cache import cache_folder
from napari_nh2st.inference.store import ROWS, forget_oldest, kept_stores, stored_bytes
from napari_nh2st.widgets.background import Background
from napari_nh2st.widgets.notifications import show_error, show_info


class ForgetButton(QPushButton):
    """Deletes the results that were kept, so that the next run computes all tiles again.

    Attributes
    ----------
    forgotten
        Emitted when they were deleted.
    """

    forgotten = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Forget kept results…", parent)
        self.setToolTip("Delete the kept results: the next run computes all tiles again")
        self._may_be_used = True
        self._work = Background(self)
        self._work.busy_changed.connect(lambda _: self._enable())
        self.clicked.connect(self._measure)

    def allow(self, allowed: bool) -> None:
        """Whether it may be used: not while a run keeps results."""
        self._may_be_used = allowed
        self._enable()

    def _enable(self) -> None:
        self.setEnabled(self._may_be_used and not self._work.is_busy)

    def _measure(self) -> None:
        self._work.start(
            kept_sizes,
            cache_folder("predictions"),
            done=self._on_measured,
            failed=self._on_failed,
        )

    def _on_measured(self, sizes: list[int]) -> None:
        if not self._may_be_used:
            show_info("A run is storing results now: forget them once it has ended.")
        elif not sizes:
            show_info("There are no kept results.")
        elif self._is_wanted(sizes):
            self._work.start(
                forget_oldest,
                cache_folder("predictions"),
                0,
                done=self._on_forgotten,
                failed=self._on_failed,
            )

    def _is_wanted(self, sizes: list[int]) -> bool:
        predictions = "1 prediction" if len(sizes) == 1 else f"{len(sizes)} predictions"
        answer = QMessageBox.question(
            self,
            "Forget kept results",
            f"Delete the kept results of {predictions} ({_in_words(sum(sizes))})? Heatmaps that "
            "are open stay, but a run computes all their tiles again.",
        )
        return bool(answer == QMessageBox.StandardButton.Yes)

    def _on_forgotten(self, _nothing: None = None) -> None:
        self.forgotten.emit()
        left = kept_stores(cache_folder("predictions"))
        busy = " except for those that another napari is using" if left else ""
        show_info(f"The kept results were deleted{busy}; heatmaps that are open stay.")

    def _on_failed(self, error: Exception) -> None:
        show_error(f"The kept results could not be deleted: {error}")


def kept_sizes(folder: Path) -> list[int]:
    """Bytes of each prediction that is kept in a folder; rows for several count with the first."""
    found = {store: size for store in kept_stores(folder) if (size := stored_bytes(store)[0])}
    rows = sum(size for store, size in found.items() if store.suffix == ROWS)
    sizes = [size for store, size in found.items() if store.suffix != ROWS]
    return [sizes[0] + rows, *sizes[1:]] if sizes else [rows] if rows else []


def _in_words(size: int) -> str:
    return f"{size / 1e9:.2g} GB" if size >= 1e9 else f"{max(size / 1e6, 0.1):,.3g} MB"
