"""Give a model folder the stain that its sections have.

    python scripts/add_stain_profile.py MODEL SECTIONS.csv

Fits a profile to the tissue under the spots of the sections and writes it into the model's
``config.json`` as ``training["stain"]``; the card is written anew. Slides are compared with it.
Where the model brings slides to its own stain, a second, of the sections in that stain, goes to
``training["normalized_stain"]``.
The sections table is that of ``nh2st train``, and should name those the model was trained on.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_nh2st.analysis import StainProfile, fit_stain, slide_stain, stain_distance
from napari_nh2st.analysis.stain_normalization import (
    StainColors,
    normalization,
    reference_of,
    slide_stain_colors,
)
from napari_nh2st.errors import InputError
from napari_nh2st.model import read_config
from napari_nh2st.model.card import model_card
from napari_nh2st.model.config import CARD_FILE, CONFIG_FILE
from napari_nh2st.slide import open_slide
from napari_nh2st.spots import check_section, read_sections, section_spots


def main() -> None:
    """Fit, tell each section's distance from the others, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, metavar="MODEL", help="folder of the model")
    parser.add_argument("sections", type=Path, metavar="SECTIONS.csv")
    args = parser.parse_args()
    try:
        add_stain_profile(args.model, args.sections)
    except InputError as error:
        sys.exit(str(error))


def add_stain_profile(folder: Path, sections: Path) -> None:
    """Write the profile of the sections into the model's config."""
    config = read_config(folder)
    for key, reference in (("stain", None), ("normalized_stain", reference_of(config))):
        if key == "stain" or reference is not None:
            profile = profile_of_sections(sections, reference)
            config = replace(config, training=dict(config.training) | {key: profile.to_json()})
    text = json.dumps(config.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
    (folder / CARD_FILE).write_text(model_card(config), encoding="utf-8")


def profile_of_sections(sections: Path, reference: StainColors | None) -> StainProfile:
    """Fit to the sections as they are, or as a model sees them that brings them to a reference."""
    described = {}
    for section in read_sections(sections):
        with open_slide(section.slide, mpp=section.mpp) as slide:
            spots = section_spots(section, slide)
            mpp = check_section(spots, slide, name=section.section_id).mpp
        with open_slide(section.slide, mpp=mpp) as slide:
            centers = np.asarray(spots.obsm["spatial"], np.float64)[:, ::-1]
            matrix = None
            if reference is not None:
                matrix = normalization(slide_stain_colors(slide), reference)
            described[section.section_id] = slide_stain(slide, centers=centers, matrix=matrix)
    for name, own in described.items():
        others = [other for section, other in described.items() if section != name]
        if others:
            distance = stain_distance(fit_stain(others), own)
            print(f"{name}: {len(own)} fields, {distance:.2f} from the other sections")
    return fit_stain(list(described.values()))


if __name__ == "__main__":
    main()
