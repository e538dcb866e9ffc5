"""Settings of an evaluation and of a cross-validation.

Nothing here needs torch.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from napari_nh2st.errors import InputError
from napari_nh2st.inference.settings import DEVICE, PRECISION, Precision
from napari_nh2st.model.catalogue import CATALOGUE, GUIDES, Guides
from napari_nh2st.model.config import CONTEXTS, Context
from napari_nh2st.options import Option, check_options
from napari_nh2st.training.split import Leave


@dataclass(frozen=True)
class EvaluateSettings:
    """How sections are predicted, and how sure their scores are.

    Each field's :class:`~napari_nh2st.options.Option` says what it does, and its range.
    """

    device: Annotated[str, DEVICE] = "auto"
    precision: Annotated[Precision, PRECISION] = "auto"
    bootstrap: Annotated[
        int,
        Option(
            "Resamples",
            "Resamples of the spots for the intervals; 0 for no intervals",
            (0, 1_000_000),
        ),
    ] = 1000
    seed: Annotated[int, Option("Seed", "Seed of the resampling", (0, 2**31))] = 0

    def __post_init__(self) -> None:
        check_options(self)


class Compared(NamedTuple):
    """An architecture in a comparison; its context and its guides may be left open."""

    key: str
    context: Context | None = None
    guides: Guides | None = None


@dataclass(frozen=True)
class CompareSettings:
    """Architectures to compare, and what each cross-validation leaves out.

    Parameters
    ----------
    architectures
        Keys of :data:`napari_nh2st.model.catalogue.CATALOGUE`. A context or guides may follow after
        a colon, as in ``"nh2st:average"`` or ``"triplex:boundary"``; without one, the settings' or
        the start model's is used.
    """

    architectures: Annotated[
        tuple[str, ...],
        Option(
            "Architectures",
            "Architectures to compare on the same folds, such as "
            "linear,nh2st:query,nh2st:average,triplex:boundary; with a frozen encoder unless "
            "encoder says otherwise",
        ),
    ]
    leave: Annotated[Leave, Option("Leave out", "What is left out at a time")] = "donor"

    def __post_init__(self) -> None:
        check_options(self)
        if len(self.parsed) < 2:
            raise InputError("a comparison needs at least two architectures, such as linear,nh2st")

    @property
    def parsed(self) -> dict[str, Compared]:
        """What is compared, by its name here."""
        return {name: _parsed(name) for name in self.architectures}


def _parsed(name: str) -> Compared:
    key, colon, variant = name.partition(":")
    if key not in CATALOGUE:
        raise InputError(f"there is no architecture {key!r}; there are {', '.join(CATALOGUE)}")
    if not colon:
        return Compared(key)
    entry = CATALOGUE[key]
    if entry.guides:
        if variant not in GUIDES:
            raise InputError(f"guides is {variant!r}; it must be one of {', '.join(GUIDES)}")
        return Compared(key, guides=variant)
    if entry.reach is not None:
        raise InputError(f"{name}: architecture {key} has no contexts; write {key}")
    if variant not in CONTEXTS:
        raise InputError(f"context is {variant!r}; it must be one of {', '.join(CONTEXTS)}")
    return Compared(key, variant)


Intervals = Literal["gene", "spread"]
"""A half width for each gene, or in proportion to the spread of a tile."""


@dataclass(frozen=True)
class CrossValidateSettings:
    """What a cross-validation leaves out and compares, and whether it ends with a model.

    Parameters
    ----------
    contexts
        Contexts to compare. ``"average"`` predicts with the weights trained for ``"query"``.
    final
        Whether to train a final model on all sections.
    intervals
        Intervals of the final model. ``"gene"``: a half width for each gene, from the errors of
        the folds. ``"spread"``: also in proportion to the spread, for which further models are
        trained without every pair and triple of what is left out (20 for five); needs a frozen
        encoder.
    """

    leave: Annotated[Leave, Option("Leave out", "What is left out at a time")] = "donor"
    contexts: Annotated[
        tuple[str, ...] | None,
        Option(
            "Contexts",
            f"Contexts to compare, of {', '.join(CONTEXTS)}",
            default="the start model's, else query",
        ),
    ] = None
    final: Annotated[
        bool,
        Option(
            "No final model",
            "Do not train a final model on all sections",
            negative="no_final",
        ),
    ] = True
    intervals: Annotated[
        Intervals,
        Option(
            "Intervals",
            "Intervals of the final model: a width for each gene, or one that follows the spread "
            "at each tile, which needs a frozen encoder, 4 to 6 donors or sections, and "
            "trainings without each pair and triple of them (20 more for five)",
        ),
    ] = "gene"

    def __post_init__(self) -> None:
        check_options(self)
        for context in self.contexts or ():
            if context not in CONTEXTS:
                raise InputError(f"context is {context!r}; it must be one of {', '.join(CONTEXTS)}")
