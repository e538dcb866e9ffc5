"""Tables of the reference, made from the code: ``nh2st-settings``, ``nh2st-keys`` and so on.

Each makes Markdown, which is then read like the page that the directive stands in.
"""

import argparse
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING
from types import ModuleType
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from docstrings import short
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata, stringify_annotation

_KEY = re.compile(r"(?:Columns?|Keys?) (?:of|in) ``(obs|var|obsm|varm|layers|uns)``:? ?")
_CONSTANT = re.compile(r"`([A-Z_]+)`")
_ROLE = re.compile(r":[a-z:]+:`~?([^`]+)`")
_MODULES = re.compile(r"~(?:\w+\.)+")


def settings(name: str) -> Iterator[str]:
    """Fields of a settings dataclass, ``module:Class``, as its annotations say."""
    from napari_nh2st.options import settings_of

    module, _, cls = name.partition(":")
    kind = getattr(importlib.import_module(module), cls)
    yield from _table(("field", "what", "default", "range"), _settings_rows(settings_of(kind)))


def _settings_rows(options: Any) -> Iterator[tuple[str, ...]]:
    for name, setting in options.items():
        option, default = setting.option, setting.default
        if option.heading:
            yield f"**{option.heading}**", "", "", ""
        if setting.is_group:
            yield f"`{name}`", f"{option.help}; see `{setting.kind.__name__}`", "", ""
            continue
        # The option of a switch that is on tells what its negative does.
        words = f"False: {_begun_small(option.help)}" if option.negative else option.help
        shown = option.default if default is None else _shown_default(default)
        limits = setting.range_text or ", ".join(f"`{choice}`" for choice in setting.choices)
        yield f"`{name}`", words, shown, limits


def _shown_default(value: Any) -> str:
    if value is MISSING:
        return "required"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value!r}`"


def _begun_small(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def keys() -> Iterator[str]:
    """Keys of a prediction's AnnData: the constants whose documentation begins with their place."""
    from napari_nh2st import analysis, prediction, spots

    found: dict[str, dict[str, str]] = {}
    for module in (*_modules(prediction), *_modules(analysis), *_modules(spots)):
        for (_, name), lines in ModuleAnalyzer.for_module(module).find_attr_docs().items():
            text = " ".join(lines).strip()
            match = _KEY.match(text)
            if match is None or name.startswith("_"):
                continue
            home = importlib.import_module(module)
            value = getattr(home, name)
            # Constants are named by what they hold.
            what = _CONSTANT.sub(
                lambda named, home=home: f"`{getattr(home, named[1], named[1])}`",
                _plain(text[match.end() :]),
            )
            for key in (value,) if isinstance(value, str) else value:
                found.setdefault(match[1], {})[key] = what
    yield from _table(
        ("where", "what"),
        (
            (f'`{place}["{key}"]`', text)
            for place in ("obs", "var", "layers", "obsm", "varm", "uns")
            for key, text in found.get(place, {}).items()
        ),
    )


def _modules(package: ModuleType) -> list[str]:
    return [f"{package.__name__}.{found.name}" for found in pkgutil.iter_modules(package.__path__)]


def notes() -> Iterator[str]:
    """What ``uns["nh2st"]`` records."""
    from napari_nh2st.prediction.schema import Notes

    hints = get_type_hints(Notes)
    rows = (
        (
            f"`{name}`",
            f"`{_MODULES.sub('', short(stringify_annotation(hint, 'smart')))}`",
            "always" if name in Notes.__required_keys__ else "where it applies",
        )
        for name, hint in hints.items()
    )
    yield from _table(("key", "type", "recorded"), rows)


def names(package: str = "napari_nh2st") -> Iterator[str]:
    """Public names of a package, or of a module, with links to where each is described."""
    home = importlib.import_module(package)
    rows = []
    for name in public_names(home):
        found, place = getattr(home, name), f"{package}.{name}"
        if isinstance(found, ModuleType) and callable(found):  # called like its function
            found, place = getattr(found, name), f"{place}.{name}"
        if inspect.isclass(found) or inspect.isroutine(found):
            if package == "napari_nh2st":  # described in the package that it comes from
                place = f"{'.'.join(found.__module__.split('.')[:2])}.{found.__name__}"
            text = inspect.getdoc(found) or ""
        elif isinstance(found, ModuleType):
            text = found.__doc__ or ""
        else:
            place, text = "", _text_of_constant(home, name) or _text_of_type(found)
        text = _plain(" ".join(text.partition("\n\n")[0].split()))
        rows.append((f"{{py:obj}}`{name} <{place}>`" if place else f"`{name}`", text))
    yield from _table(("name", "what"), rows)


def public_names(home: ModuleType) -> list[str]:
    """Those of ``__all__``; of a module without one, those that it defines."""
    own = (
        name
        for name, found in vars(home).items()
        if not name.startswith("_") and getattr(found, "__module__", None) == home.__name__
    )
    return list(getattr(home, "__all__", own))


def _text_of_constant(home: ModuleType, name: str) -> str:
    """The documentation below a constant, in the module or its package's modules."""
    for module in (home.__name__, *(_modules(home) if hasattr(home, "__path__") else ())):
        analyzer = ModuleAnalyzer.for_module(module)
        if f"\n{name}" in analyzer.code and (lines := analyzer.find_attr_docs().get(("", name))):
            return " ".join(lines)
    return ""


def _text_of_type(kind: Any) -> str:
    """What an alias of types stands for."""
    kinds = get_args(kind)
    if get_origin(kind) is Literal:
        return f"One of {', '.join(f'`{choice}`' for choice in kinds)}."
    return f"{' or '.join(f'`{each.__name__}`' for each in kinds)}."


def architectures() -> Iterator[str]:
    """Architectures that a model can have."""
    from napari_nh2st.model.catalogue import CATALOGUE

    rows = (
        (
            f"`{key}`",
            entry.description,
            entry.reach or "as its context says",
            "frozen" if entry.frozen_encoder else "trained",
            f"`napari_nh2st/model/{entry.module}.py`",
        )
        for key, entry in CATALOGUE.items()
    )
    yield from _table(("key", "what", "reach", "encoder by default", "file"), rows)


def commands() -> Iterator[str]:
    """Each command with its arguments, as its parser has them."""
    from napari_nh2st.cli.arguments import parser

    yield from _command(parser(whole=True), level=2)


def _command(
    parser: argparse.ArgumentParser,
    level: int,
    listed: frozenset[str] = frozenset({"-h", "--help"}),
) -> Iterator[str]:
    """A command and those below it, without the options that one above has ``listed``."""
    formatter = argparse.HelpFormatter(parser.prog, width=88)
    formatter.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups, prefix="")
    subcommands: dict[str, argparse.ArgumentParser] = {}
    rows: list[tuple[str, str]] = []
    for group in parser._action_groups:
        own = []
        for action in group._group_actions:
            if isinstance(action, argparse._SubParsersAction):
                texts = {choice.dest: choice.help for choice in action._choices_actions}
                own += [(f"`{name}`", texts.get(name) or "") for name in action.choices]
                subcommands |= action.choices
            elif action.help != argparse.SUPPRESS and not _is_in(listed, action):
                own.append(_argument(parser, action))
        if own and group.title not in ("positional arguments", "options"):
            rows.append((f"**{group.title}**", group.description or ""))
        rows += own
    if not subcommands:
        yield from ("```text", formatter.format_help().strip(), "```", "")
    yield from _table(("argument", "what"), rows)
    for name, command in subcommands.items():
        yield from ("", f"{'#' * level} {parser.prog} {name}", "")
        names = (name for action in parser._actions for name in action.option_strings)
        yield from _command(command, level + 1, listed.union(names))


def _is_in(listed: frozenset[str], action: argparse.Action) -> bool:
    return bool(action.option_strings) and listed.issuperset(action.option_strings)


def _argument(parser: argparse.ArgumentParser, action: argparse.Action) -> tuple[str, str]:
    formatter = parser._get_formatter()
    text = formatter._expand_help(action) if action.help else ""
    if not action.option_strings:
        return f"`{action.metavar or action.dest}`", text
    value = "" if action.nargs == 0 else f" {formatter._format_args(action, action.dest.upper())}"
    return ", ".join(f"`{name}{value}`" for name in action.option_strings), text


def _table(heads: tuple[str, ...], rows: Any) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _plain(text: str) -> str:
    """Text of a docstring without its roles."""
    return _ROLE.sub(lambda match: f"`{match[1].rpartition('.')[2]}`", text)


class _Table(SphinxDirective):
    """A directive whose content is made by a function of its arguments."""

    optional_arguments = 1
    make: ClassVar[Callable[..., Iterator[str]]]

    def run(self) -> list[nodes.Node]:
        text = "\n".join(type(self).make(*self.arguments))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Make the directives known."""
    for make in (settings, keys, notes, names, architectures, commands):
        directive = type(make.__name__, (_Table,), {"make": staticmethod(make)})
        app.add_directive(f"nh2st-{make.__name__}", directive)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
