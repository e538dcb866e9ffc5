"""Cards that notebooks show of an object: a title, a table of facts, a picture.

What they say may come from files of others, so that all of it is text: no markup comes through.
"""

import base64
import html
import io
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_nh2st.options import Setting, settings_of

# Loaded for a picture alone: the settings, which have a card, are what a command's --help loads.
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PICTURE_PX = 192
"""Longest side of a card's picture in pixels."""

_MOST_CHARACTERS = 400
"""Of one text."""


def html_card(
    title: str,
    rows: Iterable[tuple[str, object]],
    picture: "NDArray[np.uint8] | None" = None,
    caution: str = "",
) -> str:
    """A card as HTML, with styles of its own and nothing that is fetched.

    Parameters
    ----------
    title
        Kind and name of the object.
    rows
        Name and value of each fact; those without a value are left out.
    picture
        (height, width, 3); averaged down where it is larger than :data:`PICTURE_PX`.
    caution
        What has to be seen first.
    """
    parts = [f"<strong>{_escaped(title)}</strong>"]
    if caution:
        parts.append(f'<div style="color:firebrick">{_escaped(caution)}</div>')
    cells = "".join(
        f'<tr><th style="text-align:left">{_escaped(name)}</th>'
        f'<td style="text-align:left">{_escaped(value)}</td></tr>'
        for name, value in rows
        if value not in (None, "")
    )
    shown = "" if picture is None else f"<div>{_image(picture)}</div>"
    parts.append(
        '<div style="display:flex;gap:1em;align-items:flex-start">'
        f"{shown}<table>{cells}</table></div>"
    )
    return f"<div>{''.join(parts)}</div>"


def settings_card(settings: Any) -> str:
    """The settings of a dataclass, see :mod:`napari_nh2st.options`; those that are not the default
    are marked. To be its ``_repr_html_``.
    """
    rows = [
        (f"{name}{'' if value == setting.default else ' *'}", _shown(value, setting))
        for name, value, setting in _values(settings)
    ]
    return html_card(f"{type(settings).__name__} (* not the default)", rows)


def _values(settings: Any, prefix: str = "") -> Iterable[tuple[str, Any, Setting]]:
    kind: Any = type(settings)
    for name, setting in settings_of(kind).items():
        value = getattr(settings, name)
        if setting.is_group and value is not None:
            yield from (
                (inner, part, replace(found, default=getattr(setting.default, found.name, None)))
                for inner, part, found in _values(value, f"{prefix}{name}.")
            )
        else:
            yield f"{prefix}{name}", value, setting


def _shown(value: Any, setting: Setting) -> str:
    if value is None and setting.option.default:
        return setting.option.default
    unit = setting.option.unit
    return f"{value!r} {unit}" if unit else repr(value)


def _escaped(value: object) -> str:
    text = str(value)
    if len(text) > _MOST_CHARACTERS:
        text = f"{text[:_MOST_CHARACTERS]}…"
    # File names may have bytes that are no text, which no notebook could store.
    return html.escape(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def _image(picture: "NDArray[np.uint8]") -> str:
    import numpy as np
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(picture[..., :3]))
    image.thumbnail((PICTURE_PX, PICTURE_PX))
    content = io.BytesIO()
    image.save(content, "PNG")
    return (
        f'<img alt="" src="data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}">'
    )
