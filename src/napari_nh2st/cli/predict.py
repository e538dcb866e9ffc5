"""``nh2st predict``: expression over a slide, or over many."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_nh2st.cli.options import (
    add_genes,
    add_image,
    add_json,
    add_model,
    add_output,
    add_overwrite,
    add_settings,
    chosen_genes,
    given_settings,
    without_configured,
)
from napari_nh2st.cli.output import complain, print_json, show
from napari_nh2st.errors import InputError
from napari_nh2st.remote import slide_path
from napari_nh2st.shown_text import in_one_line

if TYPE_CHECKING:
    from napari_nh2st.inference import Detail


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of ``nh2st predict``."""
    from napari_nh2st.cohort.settings import CohortSettings
    from napari_nh2st.inference.settings import PredictSettings

    command.add_argument(
        "slides",
        type=slide_path,
        nargs="+",
        metavar="SLIDE",
        help="slide to predict, or its URL; or several, folders of slides, patterns such as "
        "'slides/*.svs', or a table (.csv) with a column slide and, optionally, mpp, model, "
        "region, tissue, image and your own",
    )
    add_output(
        command,
        ".h5ad or .zarr to write, or a folder for several slides; a stopped run continues when "
        "started again",
        required=False,
    )
    command.add_argument(
        "--estimate",
        action="store_true",
        help="show the tiles and time for each step, or for each slide, and predict nothing",
    )
    add_model(command)
    command.add_argument("--mpp", type=float, metavar="µm/px", help="resolution of the slide")
    add_image(command)
    add_settings(
        command,
        PredictSettings,
        {
            "genes": lambda group: add_genes(group, "genes of the panel (default: all)"),
            "region": lambda group: group.add_argument(
                "--region",
                type=Path,
                metavar="R.geojson",
                help="only within these polygons, in full-resolution pixels as QuPath writes them",
            ),
            "order": None,
        },
    )
    command.add_argument(
        "--tissue",
        type=Path,
        metavar="FILE",
        help="where the tissue is, instead of looking for it: polygons (.geojson) in "
        "full-resolution pixels, or a picture of the whole slide (.png, .tif), black where "
        "there is none",
    )
    command.add_argument(
        "--picture",
        type=Path,
        metavar="PNG",
        help="draw heatmaps as well; for several slides a folder, with a PNG for each",
    )
    add_overwrite(command)
    add_json(command)
    add_settings(command.add_argument_group("many slides"), CohortSettings, {})


def run(args: argparse.Namespace) -> int | None:
    """Run ``nh2st predict``.

    Returns
    -------
    int or None
        Exit code of a run over many slides, see :func:`~napari_nh2st.cli.cohort.run`.

    Raises
    ------
    InputError
        As :func:`~napari_nh2st.predict`; the picture cannot be written.
    """
    from napari_nh2st.cli import cohort

    if cohort.is_cohort(args):
        return cohort.run(args)
    (args.slide,) = args.slides
    _predict_one(args)
    return None


def _predict_one(args: argparse.Namespace) -> None:
    from napari_nh2st.cli.progress import ProgressReport
    from napari_nh2st.export.figure import check_figure, save_heatmap_figure
    from napari_nh2st.inference.settings import PredictSettings
    from napari_nh2st.inference.step_choice import estimate
    from napari_nh2st.model import bundled_models, load_model
    from napari_nh2st.prediction.files import check_output, is_within
    from napari_nh2st.prediction.reliability import trust_numbers
    from napari_nh2st.prediction.schema import PREDICTED, STATUS, notes, tissue_left_out
    from napari_nh2st.slide import open_slide
    from napari_nh2st.tiles.drawn_tissue import read_tissue
    from napari_nh2st.tiles.geojson import on_slide, read_regions

    # Cheap checks first: nobody wants to learn of a typing error after a model has been loaded.
    if args.output is not None:
        check_output(args.output, args.overwrite)
    elif not args.estimate:
        raise InputError("give the file to write: -o OUT.h5ad")
    if args.picture is not None:
        if is_within(args.picture, args.slide):
            raise InputError(f"{args.picture} is the slide, or inside it; give another picture")
        check_figure(args.picture, args.overwrite)
    region = read_regions(args.region) if args.region else ()
    if args.tissue is not None and "all_tiles" not in args:
        without_configured(args, "tissue_only")
    given = given_settings(args, PredictSettings) | {"genes": chosen_genes(args), "region": ()}
    settings = PredictSettings(**given)
    if args.tissue is not None and not settings.tissue_only:
        raise InputError("--tissue and --all-tiles cannot be combined")
    name = args.model or next(iter(bundled_models()), None)
    if name is None:
        raise InputError(
            "no model is bundled with this version: give --model. `nh2st model new` makes an "
            "untrained model for trying things out."
        )
    with open_slide(args.slide, mpp=args.mpp, image=args.image) as slide:
        settings = replace(settings, region=on_slide(region, slide))
        tissue = read_tissue(args.tissue, slide) if args.tissue is not None else None
        model = load_model(name)
        if args.estimate:
            _show_estimate(estimate(slide, model, settings, tissue), args.json)
            return
        report = ProgressReport(args.stop, quiet=args.json)
        from napari_nh2st.inference import predict

        try:
            with args.stop.cleaning_up():
                prediction = predict(
                    slide,
                    model,
                    settings,
                    output=args.output,
                    overwrite=args.overwrite,
                    tissue=tissue,
                    on_event=report,
                )
        except KeyboardInterrupt:
            report.close()
            raise InterruptedRun(report.done, report.total) from None
        finally:
            report.close()
    if args.picture is not None:
        with args.stop.cleaning_up():
            save_heatmap_figure(prediction, tuple(prediction.var_names[:4]), args.picture)
    status = prediction.obs[STATUS]
    failed = int((status != PREDICTED).sum())
    if args.json:
        print_json(
            {
                "output": str(args.output),
                "tiles": prediction.n_obs,
                "genes": prediction.n_vars,
                "failed_tiles": failed,
                "trained": model.config.trained,
                **notes(prediction)["run"],
                "tissue": notes(prediction)["tissue"],
                "stain_distance": report.stain_distance,
                **trust_numbers(prediction),
                "notices": list(report.notices),
            }
        )
        return
    show(f"{args.output}: {prediction.n_obs} tiles × {prediction.n_vars} genes")
    if sentence := tissue_left_out(prediction):
        show(sentence)
    if failed:
        reasons = status[status != PREDICTED]
        more = " …" if reasons.nunique() > 1 else ""
        complain(
            f"{failed} of {prediction.n_obs} tiles could not be read and are NaN: "
            f"{in_one_line(str(reasons.iloc[0]))}{more}"
        )


def _show_estimate(details: "Sequence[Detail]", as_json: bool) -> None:
    if as_json:
        print_json({"steps": [vars(detail) for detail in details]})
        return
    for detail in details:
        show(str(detail))
    if any(detail.seconds is None for detail in details):
        show("The time is known once this machine has predicted with such a model.")


class InterruptedRun(KeyboardInterrupt):
    """Ctrl-C in the middle of a prediction."""

    def __init__(self, done: int, total: int) -> None:
        kept = f"{done} of {total} tiles are stored: the same command continues from there."
        super().__init__(kept if done else "No tile was predicted.")
