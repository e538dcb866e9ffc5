"""Settings of a prediction over many slides.

Nothing here needs torch.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from napari_nh2st.errors import InputError
from napari_nh2st.html_card import settings_card
from napari_nh2st.options import Option, check_options

Format = Literal["h5ad", "zarr"]


@dataclass(frozen=True)
class CohortSettings:
    """What is written for each slide, and when a run stops.

    Each field's :class:`~napari_nh2st.options.Option` says what it does, and its range.
    """

    format: Annotated[Format, Option("Format", "Output format for each slide")] = "h5ad"
    most_errors: Annotated[
        int,
        Option(
            "Errors",
            "Number of unexpected failures in a row after which the run stops",
            (1, 1_000_000),
        ),
    ] = 3

    workers: Annotated[
        int | None,
        Option(
            "Workers",
            "Number of processes on this machine that predict at the same time, each with a "
            "share of its cores",
            (1, 1024),
            step=1,
            default="only this process",
            special="one process",
        ),
    ] = None
    scheduler: Annotated[
        str | None,
        Option(
            "Scheduler",
            "Address of a scheduler of dask.distributed whose workers predict, such as "
            "tcp://host:8786",
            default="none",
        ),
    ] = None
    host: Annotated[
        str,
        Option(
            "Host",
            "Address that the processes of --workers listen on; by default only this "
            "machine can reach it",
        ),
    ] = "127.0.0.1"
    part_tiles: Annotated[
        int,
        Option(
            "Part",
            "Slides with more tiles than this are divided into parts of about this size, for "
            "several workers",
            (1, 1_000_000_000),
        ),
    ] = 20_000

    _repr_html_ = settings_card

    def __post_init__(self) -> None:
        check_options(self)
        if self.workers is not None and self.scheduler is not None:
            raise InputError("workers and scheduler cannot be combined")
