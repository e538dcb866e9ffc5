"""``nh2st``: arguments in, results on stdout, everything else on stderr."""

import json
import sys
import warnings
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from napari_nh2st.cli.arguments import parser
from napari_nh2st.cli.export import export_prediction
from napari_nh2st.errors import InputError, SegmentError

DONE, FAILED, BAD_INPUT = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``nh2st``.

    Parameters
    ----------
    arguments
        Those of the command line by default.

    Returns
    -------
    int
        0 done, 1 failed or stopped, 2 something given cannot be used.
    """
    top = parser()
    args = top.parse_args(arguments)
    if args.version:
        print(f"nh2st {metadata.version('napari-nh2st')}")
        return DONE
    if args.command is None:
        top.print_help(sys.stderr)
        return BAD_INPUT
    # Deprecations inside libraries are nothing a user of the command can act on.
    warnings.simplefilter("ignore", FutureWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    try:
        _COMMANDS[args.command](args)
    except (InputError, SegmentError) as error:
        return _complain(str(error), BAD_INPUT)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            sys.stderr.close()  # whoever read our output has gone: nothing to say to anybody
            return FAILED
        # A file or folder that may not be read or written, wherever we met it.
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"{where}{error.strerror or error}", BAD_INPUT)
    except KeyboardInterrupt as stop:
        return _complain(f"Stopped. {stop}".strip(), FAILED)
    except Exception as error:
        return _complain(f"failed: {type(error).__name__}: {error}", FAILED)
    return DONE


def _complain(text: str, code: int) -> int:
    print(f"nh2st: {text}", file=sys.stderr)
    return code


def print_json(content: Any) -> None:
    """Print a result for programs."""
    print(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))


def print_table(rows: Sequence[tuple[str, str]]) -> None:
    """Print names with their values beside them."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")


def _info(args: Namespace) -> None:
    from napari_nh2st.slide import open_slide

    with open_slide(args.slide, mpp=args.mpp) as slide:
        mpp = list(slide.mpp) if slide.mpp else None
        native = slide.n_native_levels
        levels = [
            {"height": level.shape[0], "width": level.shape[1], "downsample": list(downsample)}
            for level, downsample in zip(slide.levels, slide.downsamples, strict=True)
        ][:native]
        if args.json:
            print_json(
                {
                    "path": str(slide.path),
                    "vendor": slide.vendor,
                    "height": slide.shape[0],
                    "width": slide.shape[1],
                    "mpp": mpp,
                    "mpp_source": slide.mpp_source,
                    "levels": levels,
                    "associated": sorted(slide.associated),
                    "brightfield": slide.brightfield,
                    "brightfield_reason": slide.brightfield_reason,
                    "fingerprint": slide.fingerprint,
                }
            )
            return
        resolution = "unknown: give --mpp when predicting"
        size = ""
        if slide.mpp:
            resolution = f"{slide.mpp[1]:.4g} × {slide.mpp[0]:.4g} (x × y), {slide.mpp_source}"
            height, width = (n * um / 1000 for n, um in zip(slide.shape, slide.mpp, strict=True))
            size = f" ({width:.2f} × {height:.2f} mm)"
        shown = [
            f"{level['width']} × {level['height']} px (1/{max(downsample):.4g})"
            for level, downsample in zip(levels, slide.downsamples, strict=False)
        ]
        print_table(
            [
                ("slide", str(slide.path)),
                ("vendor", slide.vendor),
                ("size", f"{slide.shape[1]} × {slide.shape[0]} px{size}"),
                ("µm/px", resolution),
                ("levels", f"{native}: {', '.join(shown)}"),
                ("associated", ", ".join(sorted(slide.associated)) or "none"),
                ("brightfield", "yes" if slide.brightfield else f"no: {slide.brightfield_reason}"),
            ]
        )


def _predict(args: Namespace) -> None:
    from napari_nh2st.cli.progress import ProgressReport
    from napari_nh2st.export.anndata_file import check_output, is_within
    from napari_nh2st.export.figure import check_figure, save_heatmap_figure
    from napari_nh2st.inference.settings import PredictSettings
    from napari_nh2st.model import bundled_models, load_model
    from napari_nh2st.slide import open_slide
    from napari_nh2st.tiles.geojson import read_regions

    # Cheap checks first: nobody wants to learn of a typing error after a model has been loaded.
    check_output(args.output, args.overwrite)
    if args.picture is not None:
        check_figure(args.picture, args.overwrite)
        if is_within(args.picture, args.slide):
            raise InputError(f"{args.picture} is the slide, or inside it; give another picture")
    genes = read_genes(args.genes_file) if args.genes_file else None
    if args.genes is not None:
        genes = tuple(name.strip() for name in args.genes.split(",") if name.strip())
    settings = PredictSettings(
        genes=genes,
        region=read_regions(args.region) if args.region else (),
        pitch_um=args.pitch_um,
        layout=args.layout,
        min_tissue=args.min_tissue,
        tissue_only=not args.all_tiles,
        device=args.device,
        precision=args.precision,
        batch_size=args.batch_size,
        reader_threads=args.reader_threads,
        any_stain=args.any_stain,
    )
    name = args.model or next(iter(bundled_models()), None)
    if name is None:
        raise InputError(
            "no model is bundled with this version: give --model. "
            "`nh2st model new` makes an untrained one for trying things out."
        )
    with open_slide(args.slide, mpp=args.mpp) as slide:
        model = load_model(name)
        report = ProgressReport(quiet=args.json)
        from napari_nh2st.inference import predict

        try:
            prediction = predict(
                slide,
                model,
                settings,
                output=args.output,
                overwrite=args.overwrite,
                on_event=report,
            )
        except KeyboardInterrupt:
            report.close()
            raise InterruptedRun(report.done, report.total) from None
        finally:
            report.close()
    if args.picture is not None:
        save_heatmap_figure(prediction, tuple(prediction.var_names[:4]), args.picture)
    failed = int((prediction.obs["status"] != "predicted").sum())
    if args.json:
        print_json(
            {
                "output": str(args.output),
                "tiles": prediction.n_obs,
                "genes": prediction.n_vars,
                "failed_tiles": failed,
                "trained": model.config.trained,
                "device": prediction.uns["nh2st"]["run"]["device"],
                "precision": prediction.uns["nh2st"]["run"]["precision"],
            }
        )
        return
    print(f"{args.output}: {prediction.n_obs} tiles × {prediction.n_vars} genes")
    if failed:
        reasons = prediction.obs["status"][prediction.obs["status"] != "predicted"]
        print(
            f"{failed} of {prediction.n_obs} tiles could not be read and are NaN: "
            f"{reasons.iloc[0]}" + (" …" if reasons.nunique() > 1 else ""),
            file=sys.stderr,
        )


class InterruptedRun(KeyboardInterrupt):
    """Ctrl-C in the middle of a prediction."""

    def __init__(self, done: int, total: int) -> None:
        kept = f"{done} of {total} tiles are kept: the same command goes on from there."
        super().__init__(kept if done else "No tile had been predicted.")


def _model(args: Namespace) -> None:
    _MODEL_COMMANDS[args.model_command](args)


def _model_list(args: Namespace) -> None:
    from napari_nh2st.model import bundled_models, read_config

    configs = {name: read_config(folder) for name, folder in bundled_models().items()}
    if args.json:
        print_json({name: config.to_json() for name, config in configs.items()})
    elif configs:
        print_table(
            [
                (name, f"{len(c.panel)} genes, {c.mpp:g} µm/px, context {c.context}")
                for name, c in configs.items()
            ]
        )
    else:
        print(
            "No model is bundled with this version. `nh2st predict --model` takes a folder or a "
            "Hugging Face id; `nh2st model new` makes an untrained one."
        )


def _model_info(args: Namespace) -> None:
    from napari_nh2st.model import find_model, read_config
    from napari_nh2st.model.card import model_card

    config = read_config(find_model(args.model))
    if args.json:
        print_json(config.to_json())
    else:
        print(model_card(config), end="")


def _model_check(args: Namespace) -> None:
    from napari_nh2st.model import load_model

    config = load_model(args.model).config
    if args.json:
        print_json({"name": config.name, "ok": True, "trained": config.trained})
    else:
        state = "trained" if config.trained else "UNTRAINED"
        print(f"{args.model}: good ({config.name}, {len(config.panel)} genes, {state})")


def _model_new(args: Namespace) -> None:
    from napari_nh2st.model.config import untrained_config
    from napari_nh2st.model.folder import new_model, save_model_folder

    _check_new_folder(args.output)
    config = untrained_config(
        args.name or args.output.resolve().name,
        read_genes(args.genes_file),
        context=args.context,
        mpp=args.mpp,
        pitch_um=224 * args.mpp if args.pitch_um is None else args.pitch_um,
    )
    saved = save_model_folder(new_model(config, args.seed), args.output)
    print(f"{args.output}: {len(saved.config.panel)} genes, UNTRAINED (seed {args.seed})")


def _model_import(args: Namespace) -> None:
    from napari_nh2st.model.folder import save_model_folder
    from napari_nh2st.model.importing import import_checkpoint

    _check_new_folder(args.output)
    model = import_checkpoint(
        args.checkpoint,
        read_genes(args.genes_file),
        name=args.name or args.output.resolve().name,
        mpp=args.mpp,
        pitch_um=224 * args.mpp if args.pitch_um is None else args.pitch_um,
    )
    saved = save_model_folder(model, args.output)
    print(f"{args.output}: {len(saved.config.panel)} genes, imported from {args.checkpoint}")


def _check_new_folder(folder: Path) -> None:
    if folder.exists():
        raise InputError(f"{folder} exists already; give another folder or remove it first")


def _demo(args: Namespace) -> None:
    from napari_nh2st.cli.progress import ProgressReport
    from napari_nh2st.demo import run_demo

    report = ProgressReport(quiet=args.json)
    say: Callable[[str], None] = (lambda text: None) if args.json else partial(print, flush=True)
    try:
        result = run_demo(args.output, say, report)
    finally:
        report.close()
    if args.json:
        print_json({name: str(value) for name, value in vars(result).items()})
    else:
        print(f"Prediction: {result.prediction}\nPicture: {result.picture}")


def _training(args: Namespace) -> None:
    from napari_nh2st.cli.training import TRAINING_COMMANDS

    TRAINING_COMMANDS[args.command](args)


def read_genes(path: Path) -> tuple[str, ...]:
    """Read gene names, one per line; blank lines and what follows a # are left out.

    Raises
    ------
    InputError
        The file cannot be read, has no gene, or has one twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file of gene names") from None
    genes = [name for line in lines if (name := line.split("#")[0].strip())]
    if not genes:
        raise InputError(f"{path} has no gene; it needs one name per line")
    twice, count = Counter(genes).most_common(1)[0]
    if count > 1:
        raise InputError(f"{path} has gene {twice} more than once")
    return tuple(genes)


_MODEL_COMMANDS: dict[str, Callable[[Namespace], None]] = {
    "list": _model_list,
    "info": _model_info,
    "check": _model_check,
    "new": _model_new,
    "import": _model_import,
}
_COMMANDS: dict[str, Callable[[Namespace], None]] = {
    "info": _info,
    "predict": _predict,
    "export": export_prediction,
    "model": _model,
    "train": _training,
    "evaluate": _training,
    "crossval": _training,
    "demo": _demo,
}
