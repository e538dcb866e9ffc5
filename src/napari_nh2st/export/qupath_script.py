"""A script for QuPath that imports the GeoJSON beside it and colors the tiles by a gene."""

from collections.abc import Sequence
from pathlib import Path

from anndata import AnnData

from napari_nh2st.export.classes import TileClasses
from napari_nh2st.files import check_place, write_text
from napari_nh2st.prediction.raster import robust_limits
from napari_nh2st.prediction.schema import notices, value_name
from napari_nh2st.prediction.values import best_gene, gene_values
from napari_nh2st.shown_text import in_one_line

_FIRST_LINE = "// NH2ST wrote this script."

_SCRIPT = """{first_line} It imports the tiles of a prediction into the open image and colors them.
// In QuPath 0.4 or newer: open the image that was predicted, then this file in the script editor
// (Automate > Script editor), and Run > Run.
//
{about}
import qupath.lib.color.ColorMaps
import qupath.lib.common.ColorTools
import qupath.lib.gui.tools.MeasurementMapper
import static qupath.lib.gui.scripting.QPEx.*

// Where the tiles are. Change it if you move the files.
def geojson = new File({geojson})

// The gene by which tiles are colored; null for their classes. Run the script again after a change.
def gene = {gene}
def colormap = 'Magma'

// Genes, and the values at the two ends of the colormap.
def limits = [
{limits}
]
{more_limits}
// Classes, and their red, green and blue; null leaves the color to QuPath.
def classes = [
{classes}
]

def isOurs = {{ tile ->
    tile.isTile() && (classes.containsKey(tile.pathClass?.toString()) ||
        tile.measurements.keySet().any {{ limits.containsKey(it) }})
}}
if (!getAllObjects(false).any(isOurs)) {{
    if (!geojson.isFile())
        throw new FileNotFoundException("${{geojson}} is not there: change its place in the script")
    importObjectsFromFile(geojson.path)
}}
classes.each {{ name, rgb ->
    if (rgb != null)
        getPathClass(name).setColor(ColorTools.packRGB(rgb[0], rgb[1], rgb[2]))
}}
fireHierarchyUpdate()

def viewer = getCurrentViewer()
if (viewer != null) {{
    def mapper = null
    if (gene != null) {{
        def map = ColorMaps.colorMaps.get(colormap) ?: ColorMaps.defaultColorMap
        mapper = new MeasurementMapper(map, gene, getAllObjects(false).findAll(isOurs))
        mapper.displayMinValue = limits[gene][0]
        mapper.displayMaxValue = limits[gene][1]
    }}
    viewer.overlayOptions.measurementMapper = mapper
    viewer.overlayOptions.fillDetections = true
    viewer.forceOverlayUpdate()
}}
"""

_MORE_LIMITS = "limits.putAll({{ -> [\n{limits}\n] }}.call())\n"
_GENES_AT_ONCE = 500
"""In one list: Java takes no method of more than 64 KB, which 3,000 genes make."""

_ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def script_place(geojson: Path) -> Path:
    """Where the script of a GeoJSON file lies: beside it, under the same name."""
    return geojson.with_suffix(".groovy")


def check_qupath_script(geojson: Path) -> None:
    """See beforehand that the script beside a GeoJSON file can be written.

    Raises
    ------
    InputError
        A file that this package did not write is in its place.
    """
    check_place(
        script_place(geojson), True, is_ours=_is_ours, kind="a script for QuPath that NH2ST wrote"
    )


def write_qupath_script(
    prediction: AnnData, geojson: Path, genes: Sequence[str], classes: TileClasses | None
) -> None:
    """Write the script that imports a GeoJSON file of a prediction, beside that file.

    Parameters
    ----------
    prediction
        The prediction in the GeoJSON file.
    geojson
        The file, whose absolute path goes into the script.
    genes
        Genes in it; the script lists them with their robust limits and shows the most reliable
        one, or the classes if there are any.
    classes
        Classes of the tiles; None if there are none.

    Raises
    ------
    InputError
        The script cannot be written.
    """
    limits = list[str]()
    for gene in genes:
        low, high = robust_limits(gene_values(prediction, gene))
        limits.append(f"    ({groovy_string(gene)}): [{low:.6g}, {high:.6g}],")
    starts = range(0, max(1, len(limits)), _GENES_AT_ONCE)
    first, *more = ("\n".join(limits[at : at + _GENES_AT_ONCE]) for at in starts)
    names, colors = ([], {}) if classes is None else (classes.names, classes.colors)
    shown = "null" if classes is not None else groovy_string(best_gene(prediction[:, list(genes)]))
    remarks = [f"Values: {value_name(prediction)}.", *notices(prediction)]
    text = _SCRIPT.format(
        first_line=_FIRST_LINE,
        about="\n".join(f"// {in_one_line(remark)}" for remark in remarks),
        geojson=groovy_string(str(geojson.absolute())),
        gene=shown,
        limits=first or "    :",
        more_limits="".join(_MORE_LIMITS.format(limits=block) for block in more),
        classes="\n".join(
            f"    ({groovy_string(name)}): {list(colors[name]) if name in colors else 'null'},"
            for name in names
        )
        or "    :",
    )
    write_text(script_place(geojson), text)


def groovy_string(text: str) -> str:
    r"""A string as Groovy source: in single quotes, in which ``$`` has no meaning.

    What is not ASCII becomes ``\uXXXX`` in UTF-16, whatever encoding the script is read in.
    """
    units = []
    for character in text:
        if character in _ESCAPES:
            units.append(_ESCAPES[character])
        elif " " <= character <= "~":
            units.append(character)
        else:
            code = character.encode("utf-16-be", "surrogatepass").hex()
            units += [f"\\u{code[at : at + 4]}" for at in range(0, len(code), 4)]
    return f"'{''.join(units)}'"


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_FIRST_LINE)) == _FIRST_LINE.encode()
