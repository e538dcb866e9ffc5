"""Events of an evaluation, a cross-validation, and a training with its test.

The command line, the viewer and the tests read the same. None of them needs torch.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from napari_nh2st.training.events import TrainEvent

if TYPE_CHECKING:
    import pandas as pd

    from napari_nh2st.evaluation.architecture_scores import ArchitectureComparison
    from napari_nh2st.evaluation.crossval import CrossValidation
    from napari_nh2st.evaluation.evaluation import Evaluation

When = Literal["before", "after"]
"""A test before the training, of the start model, or after it, of the new one."""


@dataclass(frozen=True)
class SpotsPredicted:
    """Some spots of a section have been predicted.

    Parameters
    ----------
    section
        Its name.
    done, total
        Number of spots predicted so far, and of all spots of the section.
    """

    section: str
    done: int
    total: int


@dataclass(frozen=True, eq=False)
class Evaluated:
    """Every section is predicted and scored; the last event of an evaluation."""

    evaluation: "Evaluation"


EvaluateEvent = SpotsPredicted | Evaluated
"""SpotsPredicted any number of times; Evaluated once."""


@dataclass(frozen=True)
class FoldProgress:
    """Progress of one training or its test.

    Parameters
    ----------
    left_out
        Donor or section left out of the training; empty for the training on all sections.
    event
        Event of that training or test.
    """

    left_out: str
    event: TrainEvent | SpotsPredicted


@dataclass(frozen=True, eq=False)
class CrossValidated:
    """Every fold is trained and scored; the last event of a cross-validation."""

    result: "CrossValidation"


CrossValidateEvent = FoldProgress | CrossValidated
"""FoldProgress any number of times; CrossValidated once."""


@dataclass(frozen=True)
class ArchitectureProgress:
    """Progress in the cross-validation of one of several architectures.

    Parameters
    ----------
    architecture
        Its name, as asked for.
    progress
        Progress of a training or its test.
    """

    architecture: str
    progress: FoldProgress


@dataclass(frozen=True, eq=False)
class ArchitecturesCompared:
    """Every architecture is cross-validated; the last event of a comparison."""

    result: "ArchitectureComparison"


CompareEvent = ArchitectureProgress | ArchitecturesCompared
"""ArchitectureProgress any number of times; ArchitecturesCompared once."""


@dataclass(frozen=True)
class Scoring(SpotsPredicted):
    """Some spots of a held-out section have been predicted, before or after the training."""

    when: When


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Scores of a model on the held-out sections.

    Parameters
    ----------
    when
        Whether before or after the training.
    summary
        Scores over those genes of the new panel that the model knows; see
        :func:`~napari_nh2st.analysis.scores.summarize`.
    scores
        One row per gene of the new panel, NaN for a gene that the model does not know; see
        :func:`~napari_nh2st.analysis.scores.gene_scores`.
    notices
        Sentences that a reader of the numbers should know.
    """

    when: When
    summary: dict[str, Any]
    scores: "pd.DataFrame"
    notices: tuple[str, ...]


@dataclass(frozen=True)
class Notice:
    """A sentence for the user."""

    text: str


TrainingRunEvent = TrainEvent | Scoring | HeldOut | Notice
"""A training's events; at TrainStarted and behind TrainFinished those of the two tests."""
