"""Small slides of a cohort, and a model to predict them with."""

from pathlib import Path

from array_slides import textured, write_tiff
from napari_nh2st.inference import PredictSettings
from napari_nh2st.model.folder import save_model_folder
from small_models import small_model

SETTINGS = PredictSettings(
    device="cpu", precision="float32", step_um=32, batch_size=8, reader_threads=1, tissue_only=False
)


def write_slide(path: Path, seed: int = 0, side: int = 192) -> Path:
    """Textured all over, without a µm/px of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_tiff(path, textured(side, side, seed))


def write_model(folder: Path, context: str = "query") -> Path:
    save_model_folder(small_model(context), folder)
    return folder
