"""Small runs of everything that writes: what each needs, does and leaves behind.

Each takes about a second, so that it can be killed at every moment.
"""

import hashlib
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import torch
from anndata import AnnData

from array_slides import textured, write_tiff
from napari_nh2st.evaluation import cross_validate
from napari_nh2st.export import formats
from napari_nh2st.inference import PredictSettings, predict, predict_events
from napari_nh2st.inference import store as store_module
from napari_nh2st.model.folder import load_model_folder, save_model_folder
from napari_nh2st.prediction.files import write_anndata
from napari_nh2st.slide import open_slide
from napari_nh2st.spots import Section
from napari_nh2st.training import TrainSettings, TrainStarted, load_study, train
from small_configs import PANEL
from small_models import small_model
from train_studies import drawn_study

_PREDICTION = PredictSettings(
    device="cpu", precision="float32", tissue_only=False, batch_size=5, reader_threads=1
)
_BUFFERED_BYTES = 240  # 12 tiles of five genes
_KEY = re.compile("[0-9a-f]{32}")
"""Of kept results: follows from the state of the slide's file, which each case has anew."""

_TRAINING = TrainSettings(
    tile_px=32,
    mpp=6.25,
    dim=8,
    heads=2,
    hidden=8,
    hypergraph_hidden=8,
    epochs=2,
    batch_size=32,
    device="cpu",
    precision="float32",
    checkpoint_minutes=0,
)


@dataclass(frozen=True)
class SmallRun:
    """Something that writes.

    Parameters
    ----------
    name
        In test ids and tables.
    prepare
        Writes what is there before it: inputs, and what an earlier run left.
    run
        Does it, in the folder; the same call goes on after a stop. Gives the sentences that its
        user is told.
    existing
        Files and folders with earlier results, which must at any moment be whole: the old or the
        new.
    results
        Files and folders that it makes.
    """

    name: str
    prepare: Callable[[Path], None]
    run: Callable[[Path], list[str]]
    results: tuple[str, ...]
    existing: tuple[str, ...] = ()


def listing(folder: Path) -> list[str]:
    """Everything below a folder, the insides of results left out."""
    names = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if not any(
            parent.suffix == ".zarr" and parent.name[0] != "." for parent in relative.parents
        ):
            names.append(_KEY.sub("KEY", str(relative)))
    return names


def content(path: Path) -> str:
    """A digest of what a result says; raises where it is damaged or half there.

    Two results are equal bit for bit where their digests are. Dates in them do not count.
    """
    digest = hashlib.sha256()
    for part in _parts(path):
        digest.update(part)
    return digest.hexdigest()


def _parts(path: Path) -> Iterator[bytes]:
    if path.suffix == ".h5ad":
        yield from _anndata_parts(anndata.read_h5ad(path))
    elif path.suffix == ".zarr" and not path.name.endswith((".ome.zarr", ".spatialdata.zarr")):
        yield from _anndata_parts(anndata.read_zarr(path))
    elif (path / "config.json").exists():
        model = load_model_folder(path)  # checks config and weights against each other
        for name, tensor in sorted(model.network.state_dict().items()):
            yield name.encode() + tensor.numpy().tobytes()
        card = (path / "README.md").read_text(encoding="utf-8").splitlines()
        yield "\n".join(line for line in card if not line.startswith("- date: ")).encode()
    elif path.is_dir():
        for file in sorted(path.iterdir()):
            if not file.name.startswith("."):  # what is not finished, or litter: see `listing`
                yield file.name.encode()
                yield from _parts(file)
    elif path.suffix in (".svg", ".pdf"):
        text = path.read_bytes()
        assert text.rstrip().endswith((b"</svg>", b"%%EOF")), f"{path.name} has no end"
    elif (
        path.suffix == ".csv"
        and "seconds_left" in path.read_text(encoding="utf-8").split("\n", 1)[0]
    ):
        yield _without_column(path.read_text(encoding="utf-8"), "seconds_left").encode()
    else:
        yield path.read_bytes()


def _without_column(table: str, name: str) -> str:
    rows = [line.split(",") for line in table.splitlines()]
    column = rows[0].index(name)
    return "\n".join(",".join(row[:column] + row[column + 1 :]) for row in rows)


def _anndata_parts(data: AnnData) -> Iterator[bytes]:
    yield np.asarray(data.X).tobytes()
    for table in (data.obs, data.var):
        yield table.to_csv().encode()
    for name in sorted(data.obsm):
        yield name.encode() + np.asarray(data.obsm[name]).tobytes()
    told = dict(data.uns["nh2st"])
    told["slide"] = {k: v for k, v in told["slide"].items() if k != "fingerprint"}  # see _KEY
    yield json.dumps(told, sort_keys=True, default=str).encode()


@contextmanager
def _small_buffer() -> Iterator[None]:
    """Results of so few tiles are kept in memory that the store is written several times."""
    before = store_module._MOST_BUFFERED_BYTES
    store_module._MOST_BUFFERED_BYTES = _BUFFERED_BYTES
    try:
        yield
    finally:
        store_module._MOST_BUFFERED_BYTES = before


def _write_slide_and_model(folder: Path) -> None:
    write_tiff(folder / "slide.tif", textured(330, 402))
    save_model_folder(small_model(), folder / "model")


def _predict(folder: Path, output: str, **changed: Any) -> list[str]:
    torch.set_num_threads(1)
    with _small_buffer(), open_slide(folder / "slide.tif", mpp=0.5) as slide:
        model = load_model_folder(folder / "model", "small")
        settings = replace(_PREDICTION, **changed)
        done = predict(slide, model, settings, output=folder / output, overwrite=True)
    return _failures(done)


def _failures(prediction: AnnData) -> list[str]:
    return sorted(set(prediction.obs["status"].astype(str)) - {"predicted"})


def _with_earlier_prediction(output: str) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        _write_slide_and_model(folder)
        _predict(folder, output, genes=PANEL[:2])

    return prepare


def _predicts(output: str) -> Callable[[Path], list[str]]:
    return lambda folder: _predict(folder, output)


def _predict_kept(folder: Path) -> list[str]:
    """As the dock does: results stay in a folder, and nothing is written beside it."""
    torch.set_num_threads(1)
    with _small_buffer(), open_slide(folder / "slide.tif", mpp=0.5) as slide:
        model = load_model_folder(folder / "model", "small")
        (folder / "kept").mkdir(exist_ok=True)
        *_, finished = predict_events(slide, model, _PREDICTION, kept=folder / "kept")
        values = np.asarray(finished.prediction.X)
    buffer = io.BytesIO()
    np.save(buffer, values)
    # Outside of the folder that is watched: what the run says, not what it writes.
    (folder.parent / f"{folder.name}.npy").write_bytes(buffer.getvalue())
    return _failures(finished.prediction)


def _earlier_exports(name: str) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        _write_slide_and_model(folder)
        _predict(folder, "prediction.h5ad")
        prediction = anndata.read_h5ad(folder / "prediction.h5ad")
        formats.export(prediction, folder / name, genes=PANEL[:1])
        shutil.rmtree(folder / "model")

    return prepare


def _exports(name: str) -> Callable[[Path], list[str]]:
    def run(folder: Path) -> list[str]:
        prediction = anndata.read_h5ad(folder / "prediction.h5ad")
        formats.export(prediction, folder / name, genes=PANEL[1:3], overwrite=True)
        return []

    return run


def _study(folder: Path) -> None:
    (folder / "study").mkdir()
    drawn_study(folder / "study")


def _sections(folder: Path) -> tuple[Section, ...]:
    """As :func:`drawn_study` left them, wherever their folder was copied to."""
    at = folder / "study"
    return tuple(Section(f"S{n}", f"D{n}", at / f"S{n}.tif", at / f"S{n}.h5ad") for n in range(3))


class _Notices(list[str]):
    """Of trainings: a listener to their events."""

    def __call__(self, *told: Any) -> None:
        if isinstance(told[-1], TrainStarted):
            self.extend(told[-1].notices)


def _train(folder: Path) -> list[str]:
    torch.set_num_threads(1)
    told = _Notices()
    measured = load_study(_sections(folder), trust_positions=True)
    train(measured, _TRAINING, folder=folder / "run", on_event=told)
    return told


def _cross_validate(folder: Path) -> list[str]:
    torch.set_num_threads(1)
    told = _Notices()
    measured = load_study(_sections(folder)[:2], trust_positions=True)
    settings = replace(_TRAINING, epochs=1, validation="none")
    done = cross_validate(measured, settings, folder=folder / "run", on_event=told)
    return [*told, *(notice for each in done.evaluations.values() for notice in each.notices)]


def _save_over(folder: Path) -> list[str]:
    save_model_folder(small_model("average"), folder / "model", overwrite=True)
    return []


def _earlier_model(folder: Path) -> None:
    save_model_folder(small_model(), folder / "model")


def _prediction_file(folder: Path) -> None:
    _write_slide_and_model(folder)
    _predict(folder, "prediction.h5ad")


def _write_prediction(folder: Path) -> list[str]:
    write_anndata(anndata.read_h5ad(folder / "prediction.h5ad"), folder / "copy.zarr")
    return []


EXPORTED = ("h5ad", "zarr", "geojson", "csv", "ome.zarr", "png", "svg", "pdf")

RUNS = {
    run.name: run
    for run in (
        SmallRun("predict", _write_slide_and_model, _predicts("out.h5ad"), ("out.h5ad",)),
        SmallRun(
            "predict-over",
            _with_earlier_prediction("out.h5ad"),
            _predicts("out.h5ad"),
            ("out.h5ad",),
            ("out.h5ad",),
        ),
        SmallRun(
            "predict-over-zarr",
            _with_earlier_prediction("out.zarr"),
            _predicts("out.zarr"),
            ("out.zarr",),
            ("out.zarr",),
        ),
        SmallRun("predict-kept", _write_slide_and_model, _predict_kept, ("../{}.npy",)),
        *(
            SmallRun(
                f"export-{suffix}",
                _earlier_exports(f"out.{suffix}"),
                _exports(f"out.{suffix}"),
                (f"out.{suffix}",),
                (f"out.{suffix}", "prediction.h5ad"),
            )
            for suffix in EXPORTED
        ),
        SmallRun("export-new", _prediction_file, _write_prediction, ("copy.zarr",)),
        SmallRun("model-save", _earlier_model, _save_over, ("model",), ("model",)),
        SmallRun("train", _study, _train, ("run/model", "run/history.csv")),
        SmallRun(
            "crossval",
            _study,
            _cross_validate,
            ("run/model", "run/query", "run/all", "run/folds"),
        ),
    )
}
