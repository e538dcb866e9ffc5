"""Tables of small drawn sections, as the commands read them."""

import csv
from collections.abc import Sequence
from pathlib import Path

from array_slides import textured, write_tiff
from small_configs import PANEL
from spot_sections import drawn_spots


def write_section(
    folder: Path, seed: int, genes: Sequence[str] = PANEL, rows: int = 6, bad: float | None = None
) -> dict[str, str]:
    """A slide with spots 32 px and, as on legacy arrays, 200 µm apart, and its row of the table."""
    write_tiff(folder / f"slide{seed}.tif", textured(200, 240, seed))
    spots = drawn_spots("square", rows, 7, 32.0, (18.5, 20.0), tuple(genes), seed)
    if bad is not None:
        spots.X.data[5] = bad
    spots.write_h5ad(folder / f"counts{seed}.h5ad")
    return {
        "section_id": f"S{seed}",
        "donor_id": f"donor{seed}",
        "slide": f"slide{seed}.tif",
        "expression": f"counts{seed}.h5ad",
        "mpp": "6.25",
    }


def write_table(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
