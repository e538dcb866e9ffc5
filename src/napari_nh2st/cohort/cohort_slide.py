"""A slide of a cohort, with its µm/px, model, region, tissue and image where they are given."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from napari_nh2st.remote import SlidePath


@dataclass(frozen=True, eq=False)
class CohortSlide:
    """One prediction of a cohort.

    Parameters
    ----------
    path
        File, folder or URL that :func:`~napari_nh2st.slide.open_slide` opens.
    name
        Name of its output without the suffix, unique in a cohort.
    mpp
        µm/px of the slide, if its own is missing or wrong.
    model
        Name or folder of the model; None for the cohort's.
    region, tissue
        Files as ``--region`` and ``--tissue`` of ``nh2st predict`` take them.
    image
        Which image of a file that has several, by number or name.
    columns
        Further columns of the table, such as ``donor``.
    """

    path: SlidePath
    name: str = ""
    mpp: float | None = None
    model: str | None = None
    region: Path | None = None
    tissue: Path | None = None
    image: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """Path, region, model and image, which tell it from other predictions of a cohort.

        Empty for those not given. Another µm/px or tissue does not make it another prediction.
        """
        region = "" if self.region is None else str(self.region)
        return str(self.path), region, self.model or "", self.image or ""
