"""``nh2st evaluate``."""

import argparse
from pathlib import Path

from napari_nh2st.cli.options import given_settings
from napari_nh2st.cli.output import print_json, print_rows, show
from napari_nh2st.cli.score_tables import score_table, summary_table
from napari_nh2st.cli.study import load_measured, watched_run
from napari_nh2st.errors import InputError
from napari_nh2st.evaluation import evaluate, write_evaluation
from napari_nh2st.evaluation.reliability import write_reliability
from napari_nh2st.evaluation.settings import EvaluateSettings
from napari_nh2st.inference.device import place
from napari_nh2st.model import find_model, load_model, read_config
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.spots import read_sections
from napari_nh2st.training.checks import check_not_seen


def run(args: argparse.Namespace) -> None:
    """Run ``nh2st evaluate``."""
    if args.output.exists():
        raise InputError(f"{args.output} already exists; give another folder or remove it first")
    given = given_settings(args, EvaluateSettings)
    settings = EvaluateSettings(**given)
    place(settings.device, settings.precision, None, None)
    sections = read_sections(args.sections)
    config = read_config(find_model(args.model))
    if args.write_reliability:
        if not Path(args.model).expanduser().is_dir():
            raise InputError(f"--write-reliability needs a model folder; {args.model} is not one")
        names = [section.section_id for section in sections]
        check_not_seen(args.model, config, names, "or do without --write-reliability")
    model = load_model(args.model)
    with watched_run(args) as report:
        study = load_measured(sections, args, report)
        result = evaluate(model, study, **given, on_event=report.counted)
        report.close()
        report.notices(result.notices)
        write_evaluation(result, args.output)
    if args.write_reliability:
        donors = config.training.get("donors", ())
        write_reliability(model, result, donors, study, Path(args.model).expanduser())
    if args.json:
        print_json(
            {
                "output": str(args.output),
                "summary": result.summary,
                "sections": result.section_summaries,
                "coverage": {name: each.to_json() for name, each in result.coverage.items()},
                "notices": list(result.notices),
                "reliability_written": args.write_reliability,
            }
        )
        return
    print_rows(summary_table(result.summary))
    if len(result.section_summaries) > 1:
        show()
        print_rows(score_table("section", result.section_summaries))
    for name, each in result.coverage.items():
        show(f"{name}: {each} of the measured values lie in the gene's 90 % interval")
    show(f"{args.output}: summary.json, genes.csv, figures and predictions")
    if args.write_reliability:
        show(f"{args.model}: each gene's PCC is now its reliability; {_intervals(config)}")


def _intervals(before: ModelConfig) -> str:
    """What became of a model's intervals, where its reliability was written."""
    if before.interval_90 is None:
        return "its 90 % intervals come from the errors on these sections"
    return "its 90 % intervals stay as they were"
