"""Documents that repeat the code, made from the code: settings, command line, and the tree of the package.

``python scripts/write_docs.py`` writes docs/configuration.md, docs/cli.md and the tree inside docs/architecture.md;
``--check`` prints what differs instead and exits 1. It runs in the environment that the launcher makes.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import inspect
import io
import os
import re
import sys
import typing
from collections.abc import Iterator, Sequence
from dataclasses import fields
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal

from pydantic import AnyUrl, BaseModel, SecretStr
from pydantic.fields import FieldInfo

from sentiment_monitor.detect.rules import DEFAULT_RULES
from sentiment_monitor.errors import UsageError
from sentiment_monitor.settings import alerting, routing
from sentiment_monitor.settings.alerting import RuleEntry
from sentiment_monitor.settings.load import Settings
from sentiment_monitor.settings.notifiers import NotifierSettings

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "sentiment_monitor"
BEGIN, END = "<!-- tree: written by scripts/write_docs.py -->", "<!-- end of tree -->"
_MADE = "<!-- Written by scripts/write_docs.py. Do not edit. -->\n"

# What has no docstring of its own.
_OTHER_FILES = {
    "py.typed": "Says to type checkers that this package has types",
    "enrich/not_tickers.txt": "Words and bodies that are tickers too and stand in capitals in running text",
    "enrich/publishers.txt": "Publishers that headlines end with",
    "notify/templates": "What messages say in English and Chinese, in Jinja",
    "score/bundled": "The bundled classifier: weights, tokenizer, manifest.json, model card",
    "score/lexicon.json": "The word list of the lexicon classifier",
    "score/probe": "Invented texts by which a quantised engine is calibrated and compared with fp32",
    "train/bundled.toml": "The recipe of the bundled classifier",
    "web/static": "Style, script and icon of the pages",
    "web/templates": "The pages, in Jinja",
}


def main(arguments: Sequence[str]) -> int:
    """Writes what is stale, or with ``--check`` shows it. Raises UsageError for any other argument."""
    if unknown := set(arguments) - {"--check"}:
        raise UsageError(f"unknown argument {unknown.pop()}; there is only --check")
    stale = 0
    for path, wanted in documents():
        found = path.read_text(encoding="utf-8") if path.is_file() else ""
        if found == wanted:
            continue
        stale += 1
        name = path.relative_to(ROOT).as_posix()
        if "--check" in arguments:
            lines = difflib.unified_diff(found.splitlines(True), wanted.splitlines(True), name, f"{name} (from code)")
            sys.stdout.writelines(lines)
        else:
            path.write_text(wanted, encoding="utf-8")
            print(f"written: {name}")
    if stale and "--check" in arguments:
        print("write_docs: stale; run python scripts/write_docs.py", file=sys.stderr)
        return 1
    return 0


def documents() -> Iterator[tuple[Path, str]]:
    """Every generated file and what it must hold."""
    yield ROOT / "docs" / "configuration.md", configuration()
    yield ROOT / "docs" / "cli.md", command_line()
    path = ROOT / "docs" / "architecture.md"
    yield path, with_tree(path.read_text(encoding="utf-8") if path.is_file() else "")


# -- the tree -----------------------------------------------------------------------------------------------------


def with_tree(text: str) -> str:
    """``text`` with the tree between the markers made anew. Raises UsageError without markers."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise UsageError("docs/architecture.md: the markers of the tree are missing")
    return f"{before}{begin}\n```\n{tree()}```\n{end}{after}"


def tree() -> str:
    """Files and folders of the package, a room's own folders too; a folder's words are its ``__init__.py``'s."""
    rows = [("src/sentiment_monitor/", _summary(PACKAGE / "__init__.py")), *_rows(PACKAGE, "")]
    width = max(len(name) for name, _ in rows) + 2
    return "".join(f"{name:<{width}}{text}".rstrip() + "\n" for name, text in rows)


def _rows(folder: Path, stem: str) -> Iterator[tuple[str, str]]:
    """(indented name, words) of all below a folder; a folder that is no package is one row."""
    entries = _entries(folder)
    for path in entries:
        last = path == entries[-1]
        yield f"{stem}{'└── ' if last else '├── '}{_name(path)}", _summary(path)
        if (path / "__init__.py").is_file():
            yield from _rows(path, stem + ("    " if last else "│   "))


def _entries(folder: Path) -> list[Path]:
    """Folders after files, without what the interpreter leaves behind."""
    kept = [
        path for path in folder.iterdir() if path.name not in {"__pycache__", "__init__.py"} and path.name[0] != "."
    ]
    return sorted(kept, key=lambda path: (path.is_dir(), path.name))


def _name(path: Path) -> str:
    return path.name + ("/" if path.is_dir() else "")


def _summary(path: Path) -> str:
    """The first sentence of the module's docstring. Raises UsageError for a file that nobody described."""
    known = _OTHER_FILES.get(path.relative_to(PACKAGE).as_posix())
    if known:
        return known
    module = path / "__init__.py" if path.is_dir() else path
    told = ""
    if module.suffix == ".py" and module.is_file():
        told = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    if not told:
        raise UsageError(f"{path}: has no docstring; describe it there, or in _OTHER_FILES")
    first = " ".join(told.split("\n\n")[0].split()).replace("`", "")
    return re.sub(r":\w+:~?[\w.]*?(\w+)(?![\w.])", r"\1", first).split(". ")[0].rstrip(".")


# -- settings -----------------------------------------------------------------------------------------------------


@cache
def configuration() -> str:
    """docs/configuration.md."""
    parts = [_MADE, _SETTINGS_HEAD]
    plain = []
    for name, field in Settings.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            parts.append(_section(f"[{name}]", inner, (name,)))
        else:
            plain.append(name)
    own = {name: field for name, field in Settings.model_fields.items() if name in plain}
    top = "## At the top of the file\n\n" + _table(own, ())
    tables = [_section(title, model, None) for title, model in _ROUTING.items()]
    receivers = [_section("[[receivers]]", alerting.ReceiverSettings, None)]
    for notifier in typing.get_args(typing.get_args(NotifierSettings)[0]):
        kind = typing.get_args(notifier.model_fields["type"].annotation)[0]
        receivers.append(_section(f'[[receivers.notifiers]]`, `type = "{kind}"', notifier, None))
    return "\n".join([*parts[:2], top, *parts[2:], *tables, *receivers, _RECEIVER_EXAMPLE, _rules()])


_ROUTING: dict[str, type[BaseModel]] = {
    "[route]": routing.RouteSettings,
    "[[route.escalate]]": routing.EscalateSettings,
    "[[time_intervals]]": routing.TimeIntervalSettings,
    "[[inhibit_rules]]": routing.InhibitSettings,
}

_SETTINGS_HEAD = """\
# Configuration

Settings come from four places. Of two that name the same setting the upper one wins:

1. an option of the command line, where the command has one ([cli.md](cli.md));
2. an environment variable: `MONITOR_` and the setting's path, joined by two underscores;
3. a file in `/run/secrets` that bears the variable's name in small letters, e.g. `monitor_kafka__sasl_password`;
4. the settings file: `--config FILE`, else the file that `MONITOR_CONFIG` names, else `monitor.toml` in the working
   folder.

What none of them names has the default below. An unknown name, a wrong type or a value out of range stops the program
with exit code 2 and one line a problem. `monitor config` prints the settings in force, secrets hidden;
[deploy/monitor.toml](../deploy/monitor.toml) is a commented example. In the environment a table or a list of tables is
written as JSON: `MONITOR_NEWS__MAPPING='{"headline": "title"}'`. Passwords belong in the environment or in a secret
file, see [operations.md](operations.md#secrets).
"""

_RECEIVER_EXAMPLE = """\
```toml
[[receivers]]
name = "desk"

[[receivers.notifiers]]
type = "webhook"
url = "https://alerts.example/hooks/sentiment"
secret = "…"

[[receivers.notifiers]]
type = "apprise"
url = "slack://TokenA/TokenB/TokenC/#news"
```
"""


def _section(title: str, model: type[BaseModel], path: tuple[str, ...] | None) -> str:
    told = " ".join((inspect.getdoc(model) or "").split())
    table = _table(model.model_fields, path) if set(model.model_fields) - {"type"} else ""
    return f"## `{title}`\n\n{told}\n" + (f"\n{table}" if table else "")


def _table(found: dict[str, FieldInfo], path: tuple[str, ...] | None) -> str:
    """One row a field; ``path`` leads to the environment's name, None where there is none of its own."""
    names = ["setting", "type", "default", *([] if path is None else ["environment"]), "meaning"]
    rows = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    for name, field in found.items():
        if name == "type":  # the heading says it
            continue
        cells = [f"`{field.alias or name}`", _type(field.annotation, field.metadata), _default(field)]
        if path is not None:
            cells.append(f"`MONITOR_{'__'.join((*path, name)).upper()}`")
        rows.append("| " + " | ".join(_cell(cell) for cell in [*cells, field.description or ""]) + " |")
    return "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


_TYPES: dict[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    SecretStr: "secret text",
    AnyUrl: "URL",
    NoneType: "unset",
    RuleEntry: "`[[rules]]`",
    alerting.RuleExample: "`[[rules.examples]]`",
    alerting.ReceiverSettings: "`[[receivers]]`",
    routing.RouteSettings: "`[route]`",
    routing.EscalateSettings: "`[[route.escalate]]`",
    routing.TimeIntervalSettings: "`[[time_intervals]]`",
    routing.InhibitSettings: "`[[inhibit_rules]]`",
}


def _type(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    limits = _limits(metadata)
    if annotation == NotifierSettings:
        told = "`[[receivers.notifiers]]`"
    elif origin is Literal:
        told = ", ".join(f"`{value}`" for value in inner)
    elif origin in (list, tuple):
        told = f"list of {_type(inner[0])}"
    elif origin is dict:
        told = f"table of {_type(inner[1])}"
    elif origin in (typing.Union, UnionType):
        told = " or ".join(_type(one) for one in inner if one is not NoneType)
    else:
        told = _TYPES[annotation]
    return told + (f", {limits}" if limits else "")


def _limits(metadata: Sequence[Any]) -> str:
    told = []
    for one in metadata:
        for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<")):
            if (value := getattr(one, name, None)) is not None:
                told.append(f"{sign} {value:,}")
        if (shortest := getattr(one, "min_length", None)) is not None:
            told.append(f"at least {shortest} characters" if shortest > 1 else "not empty")
        if pattern := getattr(one, "pattern", None):
            told.append(f"`{pattern}`")
    return ", ".join(told)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return _value(field.get_default(call_default_factory=True))


def _value(value: Any) -> str:
    """A default as TOML would write it."""
    if value is None:
        return "unset"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()  # a default is no secret
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str | Path):
        return f'`"{value}"`'
    if isinstance(value, int | float):
        return f"`{value}`"
    if isinstance(value, dict):
        return "empty"
    if value and isinstance(value[0], BaseModel):
        return "`default`, which writes alerts to the log"
    return "`[" + ", ".join(_value(one).strip("`") for one in value) + "]`"


def _rules() -> str:
    table = _table(typing.cast(Any, RuleEntry).__pydantic_fields__, None)
    shipped = ["| rule | differs from the defaults in |", "|---|---|"]
    for rule in DEFAULT_RULES:
        changed = [
            f"`{field.name} = {_value(getattr(rule, field.name)).strip('`')}`"
            for field in fields(rule)
            if field.name != "name" and getattr(rule, field.name) != field.default
        ]
        shipped.append(f"| `{rule.name}` | {', '.join(changed)} |")
    return _RULES_HEAD + table + "\n" + _RULES_SHIPPED + "\n".join(shipped) + "\n"


_RULES_HEAD = """\
## `[[rules]]`

One question asked of many series at every tick; [detection.md](detection.md) explains how it is answered and how to
tune it. With one rule in the file only the rules of the file apply. A rule must name receivers that exist.

"""
_RULES_SHIPPED = "Without any rule in the settings these three apply, and tell every receiver:\n\n"


# -- command line -------------------------------------------------------------------------------------------------


@cache
def command_line() -> str:
    """docs/cli.md: what ``--help`` says of every command."""
    parts = [_MADE, _CLI_HEAD, _help()]
    parts += [f"## monitor {' '.join(command)}\n\n{_help(*command)}" for command in commands()]
    return "\n".join(parts)


_CLI_HEAD = """\
# Command line

`monitor` in an installation, `./monitor` in a checkout (it makes its environment first where there is none). Every
command answers `--help`. Durations are written `10s`, `5m`, `2h`, `7d`; times are RFC 3339, UTC where no zone is given.
Exit codes are in [operations.md](operations.md#exit-codes), settings in [configuration.md](configuration.md).
"""


def commands() -> list[tuple[str, ...]]:
    """Every command in the order of ``--help``: ``("run",)``, ``("alerts", "list")``."""
    from sentiment_monitor.cli import app

    def name_of(command: Any) -> str:
        return str(command.name or command.callback.__name__.replace("_", "-"))

    found: list[tuple[str, ...]] = [(name_of(command),) for command in app.registered_commands]
    for group in app.registered_groups:
        inner = group.typer_instance.registered_commands if group.typer_instance else []
        found += [(str(group.name), name_of(command)) for command in inner]
    return found


def _help(*command: str) -> str:
    from sentiment_monitor.cli import app

    printed = io.StringIO()
    columns = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "80"  # whatever the terminal that this runs in
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            app([*command, "--help"], prog_name="monitor", standalone_mode=False)
    finally:
        if columns is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = columns
    text = "\n".join(line.rstrip() for line in printed.getvalue().strip().splitlines())
    return f"```\n{text}\n```\n"


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UsageError as error:
        sys.exit(f"write_docs: {error}")
