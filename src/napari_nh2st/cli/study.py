"""Measured sections and progress of a command that trains or evaluates."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from napari_nh2st.cli.stopping import StopRequest
from napari_nh2st.cli.training_progress import TrainingReport
from napari_nh2st.errors import InputError
from napari_nh2st.inference.device import place
from napari_nh2st.spots import Section
from napari_nh2st.training import MeasuredSection, TrainSettings, load_study
from napari_nh2st.training.checks import check_sources
from napari_nh2st.training.defaults import start_config
from napari_nh2st.training.first_process import end_with_first_process, is_helper
from napari_nh2st.training.notices import check_overlaps, overlaps


class StoppedTraining(KeyboardInterrupt):
    """A training was stopped; the text says what is kept of it."""


@contextmanager
def watched_run(args: argparse.Namespace) -> Iterator[TrainingReport]:
    """Give what reports the work inside; Ctrl-C ends that at once where it is not graceful."""
    # Several devices: the first process starts this same command again for the others.
    helps = is_helper()
    if helps:
        end_with_first_process()
    stop: StopRequest = args.stop
    stop.graceful = helps  # the first process hears it too, and tells the others when to end
    report = TrainingReport(quiet=args.json, silent=helps, stop=stop)
    with stop.cleaning_up():
        try:
            yield report
        except StoppedTraining:
            raise
        except KeyboardInterrupt:
            again = "" if args.command == "evaluate" else "; the same command goes on from there"
            kept = f"What had been written is in {args.output}{again}."
            raise StoppedTraining(
                kept if args.output.exists() else "Nothing was written."
            ) from None
        finally:
            stop.graceful = False
            report.close()


def load_measured(
    sections: Sequence[Section], args: argparse.Namespace, report: TrainingReport
) -> tuple[MeasuredSection, ...]:
    """Read slides and counts of the sections, with a line for each."""

    def show(section: MeasuredSection) -> None:
        report.line(
            f"{section.name}: {section.spots.n_obs} spots, {section.pitch_um:.0f} µm apart "
            f"({section.layout}), {section.mpp[0]:.4g} µm/px"
        )

    return load_study(sections, trust_positions=args.trust_positions, on_section=show)


def check_early(settings: TrainSettings, tested: Sequence[str]) -> None:
    """Refuse what can be refused before slides and counts are read."""
    place(settings.device, settings.precision, settings.batch_size, None)
    check_sources(settings, start_config(settings), tested)


def check_named(sections: Sequence[Section], names: Sequence[str]) -> None:
    """See that each section that ``--test-sections`` names is in the table, and others are."""
    known = [section.section_id for section in sections]
    for name in names:
        if name not in known:
            raise InputError(f"--test-sections: there is no {name!r}; there are {', '.join(known)}")
    if set(names) == set(known):
        raise InputError("--test-sections names all sections; none is left to train on")


def panel_notices(settings: TrainSettings, study: Sequence[MeasuredSection]) -> list[str]:
    """Notices about sections that have few genes of the start model's panel.

    Raises
    ------
    InputError
        One has next to nothing of it: it is of another species.
    """
    start = start_config(settings)
    if start is None or settings.panel is not None:
        return []
    genes = {section.name: section.spots.var_names for section in study}
    check_overlaps(start.panel, genes)
    return [overlap.sentence for overlap in overlaps(start.panel, genes) if overlap.sentence]
