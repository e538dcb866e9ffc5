"""Measured sections and progress of a command that trains or evaluates."""

import argparse
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from napari_nh2st.cli.options import given_options
from napari_nh2st.cli.stopping import StopRequest
from napari_nh2st.cli.training_progress import TrainingReport
from napari_nh2st.errors import InputError
from napari_nh2st.inference.device import place
from napari_nh2st.model.catalogue import entry_of
from napari_nh2st.model.encoders.key import DEFAULT_ENCODER, parse_key
from napari_nh2st.spots import Section
from napari_nh2st.training import MeasuredSection, TrainSettings, load_study
from napari_nh2st.training.checks import check_sources
from napari_nh2st.training.defaults import architecture_of, start_config
from napari_nh2st.training.first_process import end_with_first_process, is_helper
from napari_nh2st.training.notices import check_overlaps, overlaps
from napari_nh2st.training.unused_settings import unused_settings

_SAID_ANYWAY = {"encoder", "adapter_rank"}
"""Options that say what is done, or are refused, where they are not used."""


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
            again = "" if args.command == "evaluate" else "; the same command continues from there"
            kept = f"Files written so far are in {args.output}{again}."
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


def unused_notices(
    args: argparse.Namespace, settings: TrainSettings, compared: Collection[str] = ()
) -> list[str]:
    """Notice that options were given which change nothing in a training; empty where none were.

    Parameters
    ----------
    args
        Of the command line.
    settings
        Of the training.
    compared
        Architectures of a comparison; else it is that of the settings, or of the start model.
    """
    start = start_config(settings)
    key, rank = settings.image_encoder, settings.adapter_rank
    if key is None and start is not None and start.encoder is not None:
        key = str(start.encoder["key"])
        rank = start.encoder.get("adapter", {}).get("rank") if rank is None else rank
    kind = parse_key(key or DEFAULT_ENCODER).kind
    architectures = list(compared) or [architecture_of(settings, start)]
    unused = set(given_options(args, TrainSettings)) - _SAID_ANYWAY
    for each in architectures:
        is_frozen = compared or kind is not None or entry_of(each).frozen_encoder
        trained = settings.encoder or ("frozen" if is_frozen else "whole")
        unused &= unused_settings(each, kind, trained, rank or 0)
    names = [name for name in given_options(args, TrainSettings) if name in unused]
    if not names:
        return []
    flags = ", ".join(f"--{name.replace('_', '-')}" for name in names)
    which = f"architecture {architectures[0]}" if len(architectures) == 1 else "these architectures"
    encoder = "" if kind is None else f" with image encoder {key}"
    return [f"{flags}: no effect on a training of {which}{encoder}."]


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
