"""Docstrings and signatures on the pages of the reference."""

import re
from dataclasses import is_dataclass
from importlib import import_module
from typing import Any

from numpy.typing import ArrayLike
from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, NumpyDocstring
from sphinx.util.typing import ExtensionMetadata, stringify_annotation

_SECTIONS = Config(
    napoleon_attr_annotations=False,
    napoleon_use_ivar=True,
    napoleon_use_param=False,  # parameters that are described together stay together
    napoleon_use_rtype=False,
)
_ARRAY_LIKE = stringify_annotation(ArrayLike, "smart").replace("~", "")
_ARRAY = re.compile(
    r"numpy\.ndarray\[tuple\[typing\.Any, \.\.\.\], numpy\.dtype\[((?:[^][]|\[[^][]*\])*)\]\]"
)
_SETTINGS = "All fields, with their defaults and ranges: :doc:`/reference/settings`."


def sections(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Read the sections of a docstring, as the extension napoleon does.

    That takes the text of a property or constant up to a colon for its type.
    """
    kind = "method" if what in ("attribute", "data", "property") else what
    lines[:] = NumpyDocstring(lines, _SECTIONS, app, kind, name, obj, options).lines()
    if is_settings(obj):
        end = next((at for at, line in enumerate(lines) if line.startswith(":")), len(lines))
        lines[end:end] = ["", _SETTINGS, ""]


def is_settings(obj: Any) -> bool:
    """Whether it is a dataclass whose fields have an option: their table is elsewhere."""
    hints = getattr(obj, "__annotations__", {}).values() if is_dataclass(obj) else ()
    return any("Option(" in str(hint) for hint in hints)


def signature(
    _app: Any, _what: str, _name: str, obj: Any, _options: Any, parameters: str, returned: str
) -> tuple[str, str] | None:
    """Name types as one writes them, and ours where the reference has them."""
    if not parameters:
        return None
    return "(…)" if is_settings(obj) else short(parameters), short(returned or "")


def short(types: str) -> str:
    """Types of a signature, by names that are short."""
    types = types.replace("~", "").replace("<factory>", "...")
    types = _ARRAY.sub(r"NDArray[\1]", types.replace(_ARRAY_LIKE, "ArrayLike"))
    return re.sub(r"\b[a-zA-Z_]\w*(?:\.\w+)+", lambda name: f"~{_public(name[0])}", types)


def _public(name: str) -> str:
    package, kind = ".".join(name.split(".")[:2]), name.rpartition(".")[2]
    if package.startswith("napari_nh2st.") and hasattr(import_module(package), kind):
        return f"{package}.{kind}"
    return name


def setup(app: Sphinx) -> ExtensionMetadata:
    """Connect to the build."""
    app.connect("autodoc-process-docstring", sections)
    app.connect("autodoc-process-signature", signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
