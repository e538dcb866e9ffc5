"""A study of small drawn sections, and a model to start from, for the tests of *Train*."""

from pathlib import Path

from array_slides import textured, write_tiff
from napari_nh2st.export import write_anndata
from napari_nh2st.model.folder import save_model_folder
from napari_nh2st.spots import Section, spot_array
from napari_nh2st.training.study import MeasuredSection
from small_configs import PANEL
from small_models import small_model
from spot_sections import drawn_spots


def drawn_study(folder: Path, names: str = "S0 S1 S2") -> tuple[Section, ...]:
    """Sections of 30 spots, 200 µm apart on a textured slide of 6.25 µm/px; a donor each."""
    sections = []
    for seed, name in enumerate(names.split()):
        slide = write_tiff(folder / f"{name}.tif", textured(200, 232, seed))
        spots = drawn_spots("square", 5, 6, 32.0, (30.5, 28.0), PANEL, seed)
        write_anndata(spots, folder / f"{name}.h5ad")
        sections.append(Section(name, f"D{seed}", slide, folder / f"{name}.h5ad"))
    return tuple(sections)


def start_model(folder: Path) -> str:
    """A model folder, with the panel of the drawn sections."""
    save_model_folder(small_model(mpp=6.25, pitch_um=200.0), folder)
    return str(folder)


def drawn_section(folder: Path, name: str, donor: str, seed: int) -> MeasuredSection:
    """30 spots 32 µm apart on a textured slide of 1 µm/px."""
    slide = folder / f"{name}.tif"
    if not slide.exists():
        write_tiff(slide, textured(200, 232, seed))
    spots = drawn_spots("square", 5, 6, 32.0, (30.5, 28.0), PANEL, seed)
    section = Section(name, donor, slide, folder / f"{name}.h5ad")
    return MeasuredSection(section, spots, (1.0, 1.0), 32.0, spot_array(spots).layout, ())
