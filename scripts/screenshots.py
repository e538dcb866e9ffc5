"""Make the pictures of README and docs from the real application.

    xvfb-run -a -s "-screen 0 1400x900x24" python scripts/screenshots.py             # all
    xvfb-run -a -s "-screen 0 1400x900x24" python scripts/screenshots.py tutorials   # those alone
    python scripts/screenshots.py scverse regions.h5ad   # in tox's environment scverse

Draws three synthetic sections, whose genes follow a known programme, trains on two of them in the
*Train* dock with the bundled model's encoder, predicts the third, and explores and compares it.
Then the bundled model predicts the real sample slide, of skin, which is not what it was trained on.
The pictures of the tutorials are made by the commands that stand in them, and so is the file that
scanpy and squidpy draw: ``nh2st predict`` with ``--step-um 50`` and ``nh2st domains``.
Takes some minutes. Pictures go to ``docs/images``; the user's settings and cache are not touched.
The sample slide is downloaded, or taken from the folder that ``NH2ST_TEST_DATA`` names.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
LONGEST_S = 900
EPOCHS = 12
STEP_UM = 50.0
WIDEST_PX = 1400
PAGE_DPI = 80
DOCK_PX = 390
NOTIFICATION_S = 6
"""How long napari's notifications stay."""


def main() -> int:
    """Make the pictures; 1 if something does not end in time."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    if sys.argv[1:2] == ["scverse"]:
        scverse_pictures(Path(sys.argv[2]))
        return 0
    with study_folder() as folder:
        made = tutorial_pictures(folder)
        if "tutorials" not in sys.argv[1:]:
            made = make_pictures(folder) and made
        return 0 if made else 1


@contextmanager
def study_folder() -> Iterator[Path]:
    """A new folder, removed at the end, whose name can be seen in the pictures."""
    folder = Path(tempfile.gettempdir()) / "study"
    folder.mkdir()  # not one that is there: it is removed
    try:
        # napari reads this when it is imported.
        os.environ["NAPARI_CONFIG"] = str(folder / "settings.yaml")
        os.environ["NH2ST_CACHE"] = str(folder / "cache")
        yield folder
    finally:
        shutil.rmtree(folder)


def make_pictures(folder: Path) -> bool:
    """Train, predict, explore and compare, with a picture of each."""
    import napari
    import napari.settings
    import numpy as np

    from napari_nh2st.spots import read_sections
    from napari_nh2st.synthetic import write_synthetic_study

    sections = read_sections(write_synthetic_study(folder / "sections", (0, 1, 2)))
    real = real_slide()  # before the long work: it may not be there
    # A notification stays while the pointer rests on it, over the scale bar of every picture.
    napari.settings.get_settings().application.gui_notification_level = "error"
    viewer = napari.Viewer()
    viewer.window.resize(1280, 800)

    train = train_picture(viewer, folder, sections)
    if train is None:
        return False

    predict = dock(viewer, "Predict")
    predict.model.choose(str(train.model_folder))
    predict.detail.show_value(STEP_UM)
    viewer.fit_to_view()
    wait(lambda: False, 2)
    predict.start()
    wait(lambda: 0 < predict.bar.maximum() * 0.45 < predict.bar.value())
    picture(viewer, "predict-running.png")
    if not wait(lambda: not predict.is_running):
        return False

    genes = dock(viewer, "Genes")
    widen(genes, DOCK_PX)
    wait(lambda: genes.genes.statistics is not None)
    wait(lambda: False, NOTIFICATION_S)
    picture(viewer, "genes.png")
    genes.tabs.setCurrentWidget(genes.tile)
    # One of the highest, with tissue around it.
    values, centers = predict.heatmap.values_of(predict.heatmap.gene), predict.prediction.obsm
    aside = np.linalg.norm(centers["spatial"] - centers["spatial"].mean(0), axis=1)
    is_high = values >= np.nanquantile(values, 0.9)
    genes.tile.pick(int(np.argmin(np.where(is_high, aside, np.inf))))
    wait(genes.tile.pictures.isVisible, 30)
    wait(lambda: False, 2)
    picture(viewer, "tile.png")
    genes.tile.clear()
    genes.tabs.setCurrentWidget(genes.domains)
    genes.domains.n_domains.setValue(4)
    genes.domains.run.click()
    wait(lambda: "domain" in predict.prediction.obs)
    wait(lambda: False, 2)
    picture(viewer, "domains.png")

    compare = dock(viewer, "Compare")
    viewer.layers.selection.active = viewer.layers[0]
    for layer in list(viewer.layers)[1:]:
        layer.visible = False
    compare.model.choose(str(train.model_folder))
    compare.load(sections[2].expression)
    wait(lambda: compare.section is not None and not compare.measured.is_reading)
    compare.start()
    compared = wait(lambda: not compare.is_running) and compare.compared is not None
    wait(lambda: False, NOTIFICATION_S)
    picture(viewer, "compare.png")
    viewer.layers.clear()
    shown = compared and show_trust(viewer, predict, genes, real)
    viewer.close()
    return shown and cohort_picture(folder, [section.slide for section in sections])


def tutorial_pictures(folder: Path) -> bool:
    """Follow the tutorials: a first slide, fine-tuning on Visium, the comparison."""
    import napari

    from napari_nh2st.spots import write_sections
    from napari_nh2st.synthetic import write_synthetic_slide, write_synthetic_visium

    slide = folder / "slide.tif"
    write_synthetic_slide(slide, seed=1, shape=(1500, 1500), mpp=1.0)
    genes = ("--genes", "ERBB2,IGKC,COL1A1", "--step-um", "50")
    figure = folder / "first-slide.png"
    run("predict", slide, "-o", folder / "slide.h5ad", "--picture", figure, *genes)
    keep_figure(figure, figure.name)

    donors = {1: "A", 2: "B", 3: "C"}
    sections = [
        write_synthetic_visium(folder / "visium", seed, size_um=(1600, 1600), donor=donor)
        for seed, donor in donors.items()
    ]
    table, tuned, last = folder / "visium" / "sections.csv", folder / "tuned", sections[-1]
    write_sections(sections, table)
    panel = ("--panel", "mean", "--n-genes", "100")
    how = ("--start", "her2-breast-demo", "--encoder", "frozen", *panel, "--epochs", "10")
    run("train", "--sections", table, "-o", tuned, *how, "--test-sections", last.section_id)
    keep_figure(tuned / "test" / "gene_pcc.png", "gene-pcc.png")
    keep_figure(tuned / "test" / "maps.png", "measured-predicted.png")

    viewer = napari.Viewer()
    viewer.window.resize(1280, 800)
    viewer.open(last.slide, plugin="napari-nh2st")
    viewer.canvas.overlays.scale_bar.visible = True
    compare = dock(viewer, "Compare")
    compare.model.choose(str(tuned / "model"))
    compare.load(last.expression)
    wait(lambda: compare.section is not None and not compare.measured.is_reading)
    compare.start()
    compared = wait(lambda: not compare.is_running) and compare.compared is not None
    viewer.fit_to_view()
    wait(lambda: False, NOTIFICATION_S)
    picture(viewer, "compare-visium.png")
    viewer.close()
    return compared


def scverse_pictures(path: Path) -> None:
    """Draw a prediction with its domains by scanpy and by squidpy, as the tutorial does."""
    import matplotlib as mpl
    import scanpy
    import squidpy

    mpl.use("Agg")
    prediction = scanpy.read_h5ad(path)
    drawn = path.with_name("drawn.png")
    scanpy.pl.spatial(prediction, color=["ERBB2", "domain"], show=False)
    mpl.pyplot.savefig(drawn, dpi=PAGE_DPI, bbox_inches="tight")
    keep_figure(drawn, "scanpy.png")
    mpl.pyplot.close("all")
    squidpy.pl.spatial_scatter(prediction, color=["ERBB2", "domain"], shape="square")
    mpl.pyplot.savefig(drawn, dpi=PAGE_DPI, bbox_inches="tight")
    keep_figure(drawn, "squidpy.png")


def run(*words: Any) -> None:
    """Run a command; its failure ends the script."""
    from napari_nh2st.cli.main import main as nh2st

    if nh2st([str(word) for word in words]):
        raise SystemExit(f"nh2st {words[0]} failed")


def keep_figure(path: Path, name: str) -> None:
    """Put a figure among the pictures, as wide as a page at most and in 256 colors."""
    from PIL import Image

    with Image.open(path) as opened:
        figure = opened.convert("RGB")
    figure.thumbnail((WIDEST_PX, WIDEST_PX))
    figure.quantize(256).save(IMAGES / name, optimize=True)
    print(IMAGES / name)


def train_picture(viewer: Any, folder: Path, sections: Sequence[Any]) -> Any:
    """Train on two sections in the Train dock; returns it, or None if that fails."""
    train = dock(viewer, "Train")
    train.sections.show(sections, held_out=(sections[2].section_id,), validated=())
    train.settings.panel.show_value("mean")
    train.settings.n_genes.show_value(100)
    train.settings.epochs.show_value(EPOCHS)
    train.place.name.setText("drawn")
    train.place.folder.show_value(str(folder / "drawn"))
    checked = wait(lambda: not train.sections.is_busy)
    viewer.open(sections[2].slide, plugin="napari-nh2st")
    viewer.canvas.overlays.scale_bar.visible = True
    train.start()
    trained = checked and wait(lambda: not train.is_running)
    if not trained or train.model_folder is None:
        print(train.status.text(), file=sys.stderr)
        return None
    wait(lambda: False, NOTIFICATION_S)
    train.scroll_area.verticalScrollBar().setValue(train.progress.y())  # curves and scores
    picture(viewer, "train.png")
    return train


def show_trust(viewer: Any, predict: Any, genes: Any, slide: Path) -> bool:
    """Predict a slide with the bundled model, and show where and why not to trust it."""
    viewer.open(slide, plugin="napari-nh2st")
    predict.model.show_value(None)
    predict.detail.show_value(STEP_UM)
    bring_to_front(predict)
    viewer.fit_to_view()
    wait(lambda: False, 2)
    predict.start()
    if not wait(lambda: not predict.is_running):
        return False
    bring_to_front(genes)
    genes.tabs.setCurrentWidget(genes.genes)
    wait(lambda: genes.genes.statistics is not None)
    genes.genes.display.fade.click()
    wait(lambda: False, 2)
    picture(viewer, "faded.png")
    genes.genes.display.fade.click()
    genes.genes.unfamiliar.click()
    wait(lambda: False, 2)
    picture(viewer, "unfamiliar.png")
    genes.genes.unfamiliar.click()
    genes.tabs.setCurrentWidget(genes.tile)
    genes.tile.pick(predict.prediction.n_obs // 2)
    wait(genes.tile.pictures.isVisible)
    wait(lambda: False, 2)
    picture(viewer, "interval.png")
    return True


def real_slide() -> Path:
    """The real sample slide."""
    from napari_nh2st.sample_data import REAL_SLIDE, real_slide_path

    data = os.environ.get("NH2ST_TEST_DATA")
    return real_slide_path() if data is None else Path(data) / "slides" / REAL_SLIDE


def bring_to_front(widget: Any) -> None:
    """Show a dock that lies behind another tab."""
    from napari_nh2st.widgets import dock_place

    dock_place.bring_to_front(widget)
    wait(lambda: False, 0.5)


def cohort_picture(folder: Path, slides: Sequence[Path], model: str | None = None) -> bool:
    """Predict slides in the Cohort dock, and open one while others are predicted.

    Parameters
    ----------
    folder
        Gets the results.
    slides
        To be predicted, and one that is none.
    model
        The bundled one if None.
    """
    import napari

    viewer = napari.Viewer()
    viewer.window.resize(1280, 800)
    broken = folder / "unreadable.svs"
    broken.write_text("no slide", encoding="utf-8")
    cohort = dock(viewer, "Cohort")
    if model is not None:
        cohort.model.choose(model)
    cohort.settings.controls["step_um"].show_value(STEP_UM)
    cohort.folder.show_value(str(folder / "predictions"))
    cohort.table.add_paths([slides[0], broken, *slides[1:]])
    cohort.start()
    first, last = cohort.queue.rows[0], cohort.queue.rows[-1]
    wait(lambda: first.state == "done")
    cohort.open_result(first)
    wait(lambda: bool(cohort.session.heatmaps))
    wait(lambda: last.state == "running" and last.done > 0)
    wait(lambda: False, 0.3)
    picture(viewer, "cohort.png")
    done = wait(lambda: not cohort.is_running)
    viewer.close()
    return done and last.state == "done"


def dock(viewer: Any, name: str) -> Any:
    """Open one of the plugin's docks, beside those that are open."""
    _, widget = viewer.window.add_plugin_dock_widget("napari-nh2st", name, tabify=True)
    wait(lambda: False, 0.5)
    return widget


def widen(widget: Any, pixels: int) -> None:
    """Make a dock this wide: the drawn genes have longer names than most."""
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QDockWidget

    place = widget
    while not isinstance(place, QDockWidget):
        place = place.parentWidget()
    widget.window().resizeDocks([place], [pixels], Qt.Orientation.Horizontal)
    wait(lambda: False, 0.5)


def wait(condition: Callable[[], bool], seconds: float = LONGEST_S) -> bool:
    """Let the application run until a condition holds or the time is over."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while not condition():
        QApplication.processEvents()
        time.sleep(0.01)
        if time.monotonic() > end:
            return False
    return True


def picture(viewer: Any, name: str) -> None:
    """Write the whole window, in 256 colors: a third of the size, and no eye sees it."""
    from PIL import Image

    pixels = viewer.screenshot(canvas_only=False, flash=False)
    Image.fromarray(pixels[..., :3].copy()).quantize(256).save(IMAGES / name, optimize=True)
    print(IMAGES / name)


if __name__ == "__main__":
    sys.exit(main())
