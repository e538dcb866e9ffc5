"""The measured sections of a training command, and the watch over its work."""

import argparse
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from napari_nh2st.cli.stopping import StopRequest
from napari_nh2st.cli.training_progress import TrainingReport
from napari_nh2st.errors import InputError
from napari_nh2st.evaluation.training_run import check_not_seen
from napari_nh2st.inference.device import place
from napari_nh2st.model import find_model, read_config
from napari_nh2st.spots import Section
from napari_nh2st.training import MeasuredSection, TrainSettings, load_study
from napari_nh2st.training.first_process import end_with_first_process, is_helper
from napari_nh2st.training.notices import check_overlaps, overlaps


class StoppedTraining(KeyboardInterrupt):
    """A training was stopped; the text says what there is of it."""


class SectionRow(NamedTuple):
    """A section as the table has it, before anything of it is read."""

    name: str
    donor: str


@dataclass(frozen=True, eq=False)
class Watched:
    """What a command shows its work to, and asks whether to go on."""

    report: TrainingReport
    stop: StopRequest


@contextmanager
def watched_run(args: argparse.Namespace) -> Iterator[Watched]:
    """Show the work inside; Ctrl-C at a time when it cannot be granted ends it there."""
    # Several devices: the first process starts this same command again for the others.
    helps = is_helper()
    if helps:
        end_with_first_process()
    stop: StopRequest = args.stop
    stop.graceful = helps  # the first process hears it too, and tells the others when to end
    report = TrainingReport(quiet=args.json, silent=helps, stop=stop)
    with stop.cleaning_up():
        try:
            yield Watched(report, stop)
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


def check_run_folder(folder: Path) -> None:
    """Refuse a place that cannot take a run, before anything is read."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give a folder")
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise InputError(f"{folder} cannot be written: {there} is no folder that may be written to")


def check_early(settings: TrainSettings, tested: Collection[str]) -> None:
    """Refuse what can be refused before slides and counts are read."""
    place(settings.device, settings.precision, settings.batch_size, None)
    if settings.start is not None:
        config = read_config(find_model(settings.start))
        check_not_seen(settings.start, config, tested, "or start from another model")
    if settings.encoder_weights is not None and not Path(settings.encoder_weights).is_file():
        raise InputError(f"--encoder-weights: there is no file {settings.encoder_weights}")


def named_sections(sections: Sequence[Section], names: Sequence[str]) -> set[str]:
    """The sections that ``--test-sections`` names, each of which must be in the table."""
    known = [section.section_id for section in sections]
    for name in names:
        if name not in known:
            raise InputError(f"--test-sections: there is no {name!r}; there are {', '.join(known)}")
    return set(names)


def as_rows(sections: Sequence[Section]) -> list[SectionRow]:
    """What decides the split of sections."""
    return [SectionRow(section.section_id, section.donor_id) for section in sections]


def panel_notices(settings: TrainSettings, study: Sequence[MeasuredSection]) -> list[str]:
    """What is to be said of sections that have little of the start model's panel.

    Raises
    ------
    InputError
        One has next to nothing of it: it is of another species.
    """
    if settings.start is None or settings.panel is not None:
        return []
    panel = read_config(find_model(settings.start)).panel
    genes = {section.name: section.spots.var_names for section in study}
    check_overlaps(panel, genes)
    return [overlap.sentence for overlap in overlaps(panel, genes) if overlap.sentence]
