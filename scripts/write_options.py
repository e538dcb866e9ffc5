"""Write what is made from the options of the settings: the manifest's part and tables of the docs.

    python scripts/write_options.py           # write them
    python scripts/write_options.py --check   # say what would change; exit code 1 if anything would

A YAML file and Markdown cannot read the dataclasses; the test suite checks that they say the same.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from napari_nh2st.analysis.domain_settings import DomainSettings
from napari_nh2st.cohort.settings import CohortSettings
from napari_nh2st.export.figure_settings import FigureSettings
from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.options import Setting, settings_of, shown_value
from napari_nh2st.session.remembered import SECTIONS, key, plain_value
from napari_nh2st.training.settings import TrainSettings

ROOT = Path(__file__).resolve().parents[1]
MANIFEST = ROOT / "src/napari_nh2st/napari.yaml"
TABLES: dict[str, tuple[Any, tuple[str, ...]]] = {
    "docs/training.md": (TrainSettings, ("rule", "genes")),
    "docs/predicting.md": (PredictSettings, ("genes", "region", "order")),
    "docs/analysis.md": (DomainSettings, ()),
    "docs/scale.md": (CohortSettings, ()),
    "docs/exporting.md": (FigureSettings, ()),
}
"""File → dataclass of the table in it, and fields that have no option of their name."""

_TYPES = {bool: "boolean", int: "integer", float: "number"}
_BEGIN, _END = "<!-- options -->", "<!-- end of options -->"


def main() -> None:
    """Write the files, or say which would be others."""
    check = "--check" in sys.argv[1:]
    others = [path for path, text in written() if path.read_text(encoding="utf-8") != text]
    for path, text in written():
        if path in others and not check:
            path.write_text(text, encoding="utf-8")
    for path in others:
        print(f"{path.relative_to(ROOT)}: {'not as the options say' if check else 'written'}")
    sys.exit(bool(check and others))


def written() -> Iterator[tuple[Path, str]]:
    """Each file with the text that it should have."""
    yield MANIFEST, manifest(MANIFEST.read_text(encoding="utf-8"))
    for name, (kind, without) in TABLES.items():
        path = ROOT / name
        before, _, rest = path.read_text(encoding="utf-8").partition(f"{_BEGIN}\n")
        _, _, after = rest.partition(_END)
        table = "".join(f"{line}\n" for line in rows(kind, without))
        yield path, f"{before}{_BEGIN}\n{table}{_END}{after}"


def manifest(text: str) -> str:
    """The manifest, its last part as the docks remember their settings."""
    before, _, _ = text.partition("  configurations:\n")
    sections = {
        name: {
            "title": f"NH2ST {name.capitalize()}",
            "properties": {key(setting): schema(setting) for setting in settings},
        }
        for name, settings in SECTIONS.items()
    }
    part = yaml.safe_dump(
        {"configurations": sections}, sort_keys=False, allow_unicode=True, width=1000
    )
    return before + re.sub("^", "  ", part, flags=re.M).rstrip() + "\n"


def schema(setting: Setting) -> dict[str, Any]:
    """A setting as JSON Schema, of which napari makes a control in its preferences."""
    option = setting.option
    found: dict[str, Any] = {"type": _TYPES.get(setting.kind, "string")}
    found["default"] = plain_value(setting, setting.default)
    if setting.kind in (int, float):
        least, most = option.range
        found["minimum"] = 0.0 if setting.optional else setting.kind(least)
        found["maximum"] = setting.kind(most)
    found["title"] = f"{option.label} ({option.unit})" if option.unit else option.label
    text = option.help
    if setting.choices:
        text += f". One of {', '.join(setting.choices)}"
    if setting.optional:
        nothing = "0" if setting.kind in (int, float) else "empty"
        text += f"; {nothing}: {option.default}"
    found["description"] = text
    return found


def rows(kind: Any, without: tuple[str, ...]) -> Iterator[str]:
    """Lines of a table of options."""
    yield "| option | what | default | range |"
    yield "|---|---|---|---|"
    yield from _rows(kind, without)


def _rows(kind: Any, without: tuple[str, ...]) -> Iterator[str]:
    for name, setting in settings_of(kind).items():
        option, default = setting.option, setting.default
        if option.heading:
            yield f"| **{option.heading}** | | | |"
        if setting.is_group:
            yield from _rows(setting.kind, without)
            continue
        if name in without:
            continue
        flag = f"`--{(option.negative or name).replace('_', '-')}`"
        if setting.kind is bool:
            is_on = default and not option.negative
            flag += f", `--no-{name.replace('_', '-')}`" if is_on else ""
            shown = "on" if is_on else "off"
        elif default is None:
            shown = option.default
        else:
            shown = shown_value(default)
        limits = setting.range_text or ", ".join(f"`{choice}`" for choice in setting.choices)
        yield f"| {flag} | {option.help} | {shown} | {limits} |"


if __name__ == "__main__":
    main()
