"""Encoders that can be named, in a line each, and whether they can run on this machine."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec

from napari_nh2st.extras import NOT_INSTALLED, import_problem
from napari_nh2st.model.encoders.key import DEFAULT_ENCODER, EncoderKind
from napari_nh2st.model.encoders.known import KNOWN, KnownEncoder
from napari_nh2st.model.encoders.licences import may_be_stored

LIBRARIES: dict[EncoderKind, tuple[str, str]] = {
    "transformers": ("transformers", "transformers"),
    "timm": ("timm", "timm"),
    "onnx": ("onnxruntime", "onnx"),
    "features": ("h5py", ""),
}
"""Library of a kind, and the extra that installs it; "" for one that is always there."""

_KINDS: dict[EncoderKind, tuple[str, str]] = {
    "transformers": (
        "transformers:FOLDER or transformers:OWNER/NAME@REVISION",
        "DINOv2-type models and vision transformers",
    ),
    "timm": ("timm:FOLDER, timm:NAME or timm:OWNER/NAME@REVISION", "any model of timm"),
    "onnx": ("onnx:FILE", "an ONNX file that takes tiles and gives features or maps"),
    "features": (
        "features, features:FILE or features:FOLDER",
        "features that TRIDENT, CLAM or LazySlide computed, a file for each slide",
    ),
}


@dataclass(frozen=True)
class EncoderLine:
    """An encoder, or a kind of encoders.

    Parameters
    ----------
    key
        How it is named.
    about
        What it is.
    is_key
        False for a form that keys of a kind have.
    problem
        Why it cannot run here; empty where it can.
    """

    key: str
    about: str
    is_key: bool = True
    problem: str = ""


def encoder_lines(*, importing: bool = True) -> Iterator[EncoderLine]:
    """All that can be named: ours, the kinds, and public pathology encoders.

    Parameters
    ----------
    importing
        Import the libraries, which takes seconds, to see that they are not broken; else see that
        they are there.
    """
    yield EncoderLine(DEFAULT_ENCODER, "ResNet-18, as published; trained with the model")
    problems = {kind: library_problem(kind, importing=importing) for kind in LIBRARIES}
    for kind, (form, about) in _KINDS.items():
        yield EncoderLine(form, about, is_key=False, problem=problems[kind])
    for known in KNOWN:
        passed_on = "" if may_be_stored(known.licence) else ", weights stay out of models"
        about = f"{known.about}; {known.licence}{passed_on}"
        problem = problems[known.kind] or ("" if _is_fetched(known) else "not downloaded")
        yield EncoderLine(f"{known.kind}:{known.repository}", about, problem=problem)


def library_problem(kind: EncoderKind, *, importing: bool = True) -> str:
    """Why encoders of a kind cannot run here, with what to do; empty where they can."""
    library, extra = LIBRARIES[kind]
    if find_spec(library) is None:
        problem: str | None = NOT_INSTALLED
    else:
        problem = import_problem(library) if importing else None
    if problem == NOT_INSTALLED:
        return f"{library} {problem}: pip install 'napari-nh2st[{extra}]'"
    return "" if problem is None else f"{library} {problem}"


def _is_fetched(known: KnownEncoder) -> bool:
    """Whether some commit of it lies in the Hub's local cache."""
    with suppress(Exception):  # without the library, nothing is
        from huggingface_hub import try_to_load_from_cache

        return isinstance(try_to_load_from_cache(known.repository, "config.json"), str)
    return False
