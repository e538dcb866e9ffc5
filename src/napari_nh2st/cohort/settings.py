"""Settings of a prediction over many slides.

Nothing here needs torch.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from napari_nh2st.options import Option, check_options

Format = Literal["h5ad", "zarr"]


@dataclass(frozen=True)
class CohortSettings:
    """What is written for each slide, and when a run stops.

    Each field's :class:`~napari_nh2st.options.Option` says what it does, and its range.
    """

    format: Annotated[Format, Option("Format", "Format of the output of each slide")] = "h5ad"
    most_errors: Annotated[
        int,
        Option(
            "Errors",
            "Slides in a row that fail for a reason nobody foresaw before the run stops",
            (1, 1_000_000),
        ),
    ] = 3

    def __post_init__(self) -> None:
        check_options(self)
