"""Work that runs beside the viewer, as generators of events."""

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from napari_nh2st.slide import Slide

if TYPE_CHECKING:
    from napari_nh2st.inference import Event, Focus


def prediction_events(
    slide: Slide,
    model: str,
    settings: dict[str, Any],
    focus_box: tuple[float, float, float, float] | None,
    control: "RunControl",
) -> Iterator["Event"]:
    """Load a model and predict, until done or told to stop.

    Parameters
    ----------
    slide
        Knows its µm/px.
    model
        Name, folder or Hub id.
    settings
        Fields of :class:`~napari_nh2st.inference.PredictSettings`.
    focus_box
        Where the user looks at first, (y0, x0, y1, x1) in full-resolution pixels.
    control
        Stops the run and moves its focus.

    Yields
    ------
    Event
        Those of :func:`~napari_nh2st.inference.predict_events`.
    """
    # Here, not above: torch is loaded in this thread when it is first needed.
    from napari_nh2st.inference import Focus, PredictSettings, predict_events
    from napari_nh2st.model import load_model

    focus = control.focus = Focus(focus_box)
    loaded = load_model(model)
    events = predict_events(slide, loaded, PredictSettings(**settings), focus=focus)
    with closing(events):
        for event in events:
            if control.stopped:
                return
            yield event


class RunControl:
    """The viewer's hold on a run in another thread."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self.focus: Focus | None = None

    @property
    def stopped(self) -> bool:
        """Whether the run is to end."""
        return self._stop.is_set()

    def stop(self) -> None:
        """End the run after the batch that is under way."""
        self._stop.set()

    def look_at(self, box: tuple[float, float, float, float]) -> None:
        """Tell the run where the user looks; nothing happens before it has begun."""
        if self.focus is not None:
            self.focus.move(box)
