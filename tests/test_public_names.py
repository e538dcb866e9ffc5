"""Names of the package itself, as scripts import them."""

import importlib
import inspect
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from anndata import AnnData

import napari_nh2st
from array_slides import ArrayLevel, array_slide, textured
from drawn_predictions import drawn_prediction


def test_every_public_name_is_there() -> None:
    assert sorted(napari_nh2st.__all__) == sorted(set(napari_nh2st.__all__))
    assert set(napari_nh2st.__all__) <= set(dir(napari_nh2st))
    for name in napari_nh2st.__all__:
        assert getattr(napari_nh2st, name) is not None
    assert napari_nh2st.__version__ == version("napari-nh2st")


def test_type_checkers_see_what_is_there() -> None:
    """`TYPE_CHECKING` imports the names of ``__all__`` and no others."""
    lines = Path(str(napari_nh2st.__file__)).read_text(encoding="utf-8").splitlines()
    imports = lines[lines.index("if TYPE_CHECKING:") + 1 : lines.index("__all__ = [")]
    seen = [name for line in imports for name in line.partition(" import ")[2].split(", ") if name]
    assert sorted(seen) == sorted(napari_nh2st.__all__)


@pytest.mark.parametrize(
    "first", ["import napari_nh2st", "from napari_nh2st.export.figure import FigureSettings"]
)
def test_export_is_a_function_and_the_module_of_formats(first: str) -> None:
    code = (
        f"{first}; import napari_nh2st, napari_nh2st.export; from napari_nh2st import export;"
        "assert export is napari_nh2st.export;"
        "assert callable(export) and export.FORMATS and callable(export.export)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_prediction_is_exported_and_analysed_by_top_level_names(tmp_path: Path) -> None:
    prediction: AnnData = drawn_prediction(
        array_slide(ArrayLevel(textured(100, 140)), mpp=(0.5, 0.5), path="section.tif")
    )
    path = tmp_path / "out.csv"
    napari_nh2st.export(prediction, path, genes=("VIM",))
    assert path.read_text(encoding="utf-8").splitlines()[0].endswith("VIM")
    assert napari_nh2st.analysis.moran(prediction).index.equals(prediction.var_names)


@pytest.mark.parametrize(
    "module",
    [
        *("", ".analysis", ".cohort", ".evaluation", ".export", ".inference", ".model"),
        *(".slide", ".spots", ".synthetic", ".tiles", ".tiles.geojson", ".training"),
    ],
)
def test_where_a_path_is_taken_its_text_is(module: str) -> None:
    """That the text then works as well is what mypy sees."""
    content = importlib.import_module(f"napari_nh2st{module}")
    only_paths = [
        f"{name}({parameter})"
        for name in getattr(content, "__all__", ["read_regions", "named_polygons"])
        if inspect.isfunction(function := getattr(content, name))
        for parameter in inspect.signature(function).parameters.values()
        if "Path" in (kind := str(parameter.annotation)) and "str" not in kind
    ]
    assert not only_paths
