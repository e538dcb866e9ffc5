"""The user's configuration file: defaults of the settings, in a table for each command.

The command line and the docks begin with them; functions of Python do not read the file. A key is
the name of a field of the command's settings, or of its option, and its value is checked as that of
the option is.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import platformdirs

from napari_nh2st.errors import InputError
from napari_nh2st.names import nearest_names
from napari_nh2st.options import Option, Pair, Setting, settings_of

VARIABLE = "NH2ST_CONFIG"

MODEL = Setting(
    "model",
    str,
    None,
    Option(
        "Model",
        "Bundled name, folder, or Hugging Face owner/name@REVISION",
        default="the bundled one",
    ),
    optional=True,
)

_PREDICT = "napari_nh2st.inference.settings:PredictSettings"
_COHORT = "napari_nh2st.cohort.settings:CohortSettings"
_TRAIN = "napari_nh2st.training.settings:TrainSettings"
_CROSSVAL = "napari_nh2st.evaluation.settings:CrossValidateSettings"
_EVALUATE = "napari_nh2st.evaluation.settings:EvaluateSettings"
_DOMAINS = "napari_nh2st.analysis.domain_settings:DomainSettings"
_FIGURE = "napari_nh2st.export.figure_settings:FigureSettings"

TABLES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "predict": ((_PREDICT, _COHORT), ("genes", "region", "order")),
    "train": ((_TRAIN,), ("genes", "validation_sections")),
    "crossval": (
        (_CROSSVAL, _TRAIN),
        ("genes", "validation_sections", "context", "devices"),
    ),
    "evaluate": ((_EVALUATE,), ("seed",)),
    "domains": ((_DOMAINS,), ()),
    "export": ((_FIGURE,), ()),
}
"""Of each table, which is called as the command, its settings, and fields that belong to one run
alone or that the command does not have."""

_ALSO = {"panel": "rule"}
"""Options that are not called as their field."""


def config_path() -> Path:
    """The file: that of ``$NH2ST_CONFIG``, else ``config.toml`` in the user's configuration."""
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given).expanduser()
    return Path(platformdirs.user_config_dir("napari-nh2st", appauthor=False)) / "config.toml"


def config_settings(table: str) -> dict[str, Setting]:
    """The settings that a table can have, by name of the field."""
    kinds, without = TABLES[table]
    found = {"model": MODEL} if table == "predict" else {}
    for kind in kinds:
        found |= {setting.name: setting for setting in _flat(resolve_name(kind))}
    if "rule" in found:  # a list of genes is given with each run
        rules = tuple(rule for rule in found["rule"].choices if rule != "given")
        found["rule"] = replace(found["rule"], choices=rules)
    return {name: setting for name, setting in found.items() if name not in without}


def configured(table: str) -> dict[str, Any]:
    """The defaults of a table, by name of the field; empty without a file, or without the table.

    Parameters
    ----------
    table
        Name of a command, a key of :data:`TABLES`.

    Raises
    ------
    InputError
        The file cannot be read, is no TOML, or has a table, a key or a value that cannot be.
    """
    path = config_path()
    content = _read(path)
    for name, value in content.items():
        if name not in TABLES:
            if not isinstance(value, dict):
                tables = ", ".join(f"[{table}]" for table in TABLES)
                raise InputError(f"{path}: {name} is in no table; it belongs below one of {tables}")
            raise InputError(f"{path}: there is no table {name}{_instead(name, TABLES)}")
        if not isinstance(value, dict):
            raise InputError(f"{path}: {name} is a value; it must be a table, [{name}]")
    where = f"{path}, [{table}]"
    given = content.get(table, {})
    settings = config_settings(table) if given else {}
    by_option = {setting.option.negative: setting for setting in settings.values()}
    found: dict[str, Any] = {}
    for key, value in given.items():
        name = key.replace("-", "_")
        name = _ALSO.get(name, name)
        switched_off = name not in settings and bool(name) and name in by_option
        setting = by_option[name] if switched_off else settings.get(name)
        if setting is None:
            raise InputError(f"{where}: there is no setting {key}{_instead(name, settings)}")
        checked = _checked(setting, value, f"{where}: {key}", where)
        if setting.name in found:
            other = "" if name == setting.name else f", as {key} as well"
            raise InputError(f"{where}: {setting.name} is given twice{other}")
        found[setting.name] = not checked if switched_off else checked
    return found


def key_of(field: str) -> str:
    """What a field is called in the file and on the command line."""
    return next((key for key, name in _ALSO.items() if name == field), field)


def sample_config() -> str:
    """A configuration file with every setting, its text and its default, all of it in comments."""
    return "\n".join(_sample_lines()) + "\n"


def toml_value(value: Any) -> str:
    """A value of a setting as TOML has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = "".join(
            f"\\u{ord(each):04x}" if ord(each) < 0x20 or ord(each) == 0x7F else each
            for each in value.replace("\\", "\\\\").replace('"', '\\"')
        )
        return f'"{escaped}"'
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    return str(value)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if os.environ.get(VARIABLE):
            raise InputError(f"{VARIABLE} names {path}, which does not exist") from None
        return {}
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file in UTF-8") from None
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of 5,000 digits
        raise InputError(f"{path} is not TOML: {error}") from None


def _flat(kind: Any) -> Iterator[Setting]:
    for setting in settings_of(kind).values():
        if setting.is_group:
            yield from _flat(setting.kind)
        else:
            yield setting


def _instead(name: str, known: Mapping[str, object]) -> str:
    near = nearest_names(name, [each for each in known if each], n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; there are {', '.join(known)}" if len(known) < 10 else ""


def _checked(setting: Setting, value: Any, what: str, where: str) -> Any:
    """A value as its field takes it."""
    must_be = ""
    if setting.kind is bool:
        must_be = "" if isinstance(value, bool) else "true or false"
    elif setting.kind in (int, float):
        must_be = "" if _is_number(value) else "a number"
    elif setting.kind == Pair:
        if isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)):
            value = tuple(value)
        else:
            must_be = "a list of two numbers"
    elif setting.choices or setting.kind is str:
        must_be = "" if isinstance(value, str) else "a text"
    elif isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = tuple(value)
    else:
        must_be = "a list of strings"
    if must_be:
        shown = toml_value(value) if isinstance(value, bool | str) else repr(value)
        raise InputError(f"{what} is {shown}; it must be {must_be}")
    try:
        if setting.kind is float:
            value = float(value)
        elif setting.kind == Pair:
            value = float(value[0]), float(value[1])
        setting.check(value)
    except OverflowError:
        raise InputError(f"{what} is far too large") from None
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _sample_lines() -> Iterator[str]:
    yield "# Defaults of nh2st and of the docks in napari. Options on the command line, and choices"
    yield "# in a dock, take precedence. Remove the # before a setting to use it."
    for table in TABLES:
        yield ""
        yield f"[{table}]"
        for setting in config_settings(table).values():
            yield from _sample_of(setting)


def _sample_of(setting: Setting) -> Iterator[str]:
    option = setting.option
    if option.negative:  # its texts are about the switch
        setting = replace(setting, name=option.negative, default=False)
    else:
        setting = replace(setting, name=key_of(setting.name))
    limits = ""
    if setting.choices:
        limits = f" One of {', '.join(setting.choices)}."
    elif setting.range_text:
        limits = f" {setting.range_text.capitalize()}."
    default = f" Default: {option.default}." if setting.default is None else ""
    yield f"# {option.help}.{limits}{default}"
    value = "" if setting.default is None else f" {toml_value(setting.default)}"
    yield f"# {setting.name} ={value}"
