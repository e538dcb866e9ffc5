"""The script beside the GeoJSON: what it says, and that any file name is written right in it."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from array_slides import ArrayLevel, array_slide, textured
from drawn_predictions import BEST, drawn_prediction
from napari_nh2st.errors import InputError
from napari_nh2st.export import export
from napari_nh2st.export.geojson import write_geojson
from napari_nh2st.export.qupath_script import groovy_string, write_qupath_script
from napari_nh2st.prediction.schema import notes


@pytest.fixture(scope="module")
def prediction() -> AnnData:
    slide = array_slide(ArrayLevel(textured(150, 150)), mpp=(0.5, 0.5), path="section.tif")
    return drawn_prediction(slide)


def as_groovy_reads(source: str) -> str:
    """A string in single quotes, by the rules of Groovy's specification."""
    assert source[0] == source[-1] == "'"
    text = source[1:-1]
    assert re.fullmatch(r"(?:[^\\'\n\r]|\\u[0-9a-f]{4}|\\[\\'nrt])*", text), text
    named = {"n": "\n", "r": "\r", "t": "\t", "'": "'", "\\": "\\"}

    def one(escape: re.Match[str]) -> str:
        return named[escape[0][1]] if escape[0][1] != "u" else chr(int(escape[0][2:], 16))

    units = re.sub(r"\\u[0-9a-f]{4}|\\.", one, text)
    return units.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/data/my slides/a.geojson",
        r"C:\users\n\t\u0041.geojson",
        'it\'s $here ${there} "quoted"',
        "line\nbreak\rand\ttab",
        "Präparat µ 組織 😀",
        "of no encoding \udcff",
        "trailing\\",
    ],
)
def test_any_text_is_a_string_of_groovy(text: str) -> None:
    source = groovy_string(text)
    assert source.isascii()
    assert as_groovy_reads(source) == text


def strings_after(script: str, name: str) -> list[str]:
    """The keys of a map of the script, or the one string that is assigned."""
    (block,) = re.findall(rf"^def {name} = (\[\n.*?\n\]|[^\n]*)$", script, re.DOTALL | re.M)
    return [as_groovy_reads(found) for found in re.findall(r"'(?:[^'\\]|\\.)*'", block)]


def test_the_script_names_file_genes_and_classes(tmp_path: Path, prediction: AnnData) -> None:
    named = prediction.copy()
    names = ["stroma", "tumour's edge"]
    named.obs["domain"] = np.resize(names, named.n_obs)
    named.uns["domain_colors"] = np.array(["#ff8000", "blue"], object)
    notes(named)["notices"] = np.array(["The stain\nis paler."], object)
    folder = tmp_path / "it's $mine"
    folder.mkdir()
    path = folder / "Präparat 1.geojson"
    export(named, path, genes=("VIM", BEST))
    script = (folder / "Präparat 1.groovy").read_text(encoding="utf-8")
    assert strings_after(script, "geojson") == [str(path)]
    assert strings_after(script, "gene") == [BEST]
    assert strings_after(script, "limits") == ["VIM", BEST]
    low, high = np.nanpercentile(named[:, "VIM"].X, (1, 99))
    assert f"('VIM'): [{low:.6g}, {high:.6g}]," in script
    assert "\n// The stain is paler.\n" in script
    assert strings_after(script, "classes") == []

    export(named, path, genes=("VIM",), domains="domain", overwrite=True)
    script = (folder / "Präparat 1.groovy").read_text(encoding="utf-8")
    assert "\ndef gene = null\n" in script
    assert strings_after(script, "classes") == names
    assert "('stroma'): [255, 128, 0]," in script


def test_classes_alone_need_no_genes(tmp_path: Path, prediction: AnnData) -> None:
    tiles = prediction[:, []].copy()
    tiles.obs["domain"] = pd.Categorical(["a b"] * tiles.n_obs)
    write_geojson(tiles, tmp_path / "out.geojson", domains="domain")
    text = (tmp_path / "out.groovy").read_text(encoding="utf-8")
    assert "def limits = [\n    :\n]\n" in text
    assert strings_after(text, "classes") == ["a b"]
    assert "    ('a b'): null," in text
    # By these a second run sees that they are there.
    assert "classes.containsKey(tile.pathClass?.toString())" in text


def test_many_genes_are_written_in_parts_that_java_takes(tmp_path: Path) -> None:
    names = [f"G{number}" for number in range(1203)]
    slide = array_slide(ArrayLevel(textured(150, 150)), mpp=(0.5, 0.5), path="section.tif")
    few = drawn_prediction(slide)
    values = np.random.default_rng(0).random((few.n_obs, len(names)), np.float32)
    many = AnnData(values, few.obs, var=pd.DataFrame(index=names), uns=few.uns, obsm=few.obsm)
    write_qupath_script(many, tmp_path / "out.geojson", names, None)
    script = (tmp_path / "out.groovy").read_text(encoding="utf-8")
    parts = re.findall(
        r"^(?:def limits = |limits\.putAll\(\{ -> )(\[\n.*?\n\])", script, re.DOTALL | re.M
    )
    found = [re.findall(r"^    \('(\w+)'\): \[", part, re.M) for part in parts]
    assert [name for part in found for name in part] == names
    assert max(map(len, found)) <= 500


def test_what_no_encoding_has_and_line_breaks_stay_in_the_comment(
    tmp_path: Path, prediction: AnnData
) -> None:
    noted = prediction.copy()
    notes(noted)["notices"] = np.array(["of \udcff\u2028\x85System.exit(1)"], object)
    export(noted, tmp_path / "out.geojson", genes=("VIM",))
    script = (tmp_path / "out.groovy").read_text(encoding="utf-8")
    assert r"// of \udcff System.exit(1)" in script.splitlines()


def test_a_script_of_the_user_stays_and_nothing_is_written(
    tmp_path: Path, prediction: AnnData
) -> None:
    own = tmp_path / "out.groovy"
    own.write_text("println 'mine'", encoding="utf-8")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="is not a script for QuPath that NH2ST wrote"):
            export(prediction, tmp_path / "out.geojson", genes=("VIM",), overwrite=overwrite)
    assert own.read_text(encoding="utf-8") == "println 'mine'"
    assert [path.name for path in tmp_path.iterdir()] == ["out.groovy"]
