"""The import rule of docs/architecture.md, read off the syntax trees, and that importing a module does nothing."""

from __future__ import annotations

import ast
import graphlib
import importlib.metadata
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from databases import copy_migrated

PACKAGE = "sentiment_monitor"
SOURCE = Path(__file__).resolve().parents[2] / "src" / PACKAGE

# Every room may import these: values, errors, and how times are read and written.
EVERYWHERE = {"domain", "errors", "times"}
# Room (first name below the package) -> the other rooms it may import. One row a room; nothing else is allowed.
MAY_IMPORT: dict[str, set[str]] = {
    "": set(),
    "domain": set(),
    "errors": set(),
    "times": set(),
    "tables": set(),
    # Rooms that know nothing of each other.
    "ingest": set(),
    "enrich": set(),
    "score": {"tables"},  # files of texts are scored
    "store": set(),
    "detect": set(),
    "dispatch": set(),
    "notify": set(),
    "telemetry": set(),
    "actions": {"store"},
    # The two loops: they meet in the database only.
    "stream": {"ingest", "score", "store", "telemetry"},
    "watch": {"detect", "dispatch", "notify", "store", "telemetry"},
    # Offline.
    "backtest": {"detect", "dispatch", "store", "watch"},
    "train": {"score", "tables"},
    "bench": {"score", "tables", "terminal", "train"},
    # What people touch.
    "settings": {"detect"},  # a rule is validated where it is used
    "terminal": {"actions", "store", "web"},
    "web": {"actions", "store", "telemetry"},
    "app": {"actions", "detect", "dispatch", "enrich", "ingest", "notify", "score", "settings", "store", "stream"}
    | {"telemetry", "watch", "web"},
    "cli": {"actions", "app", "backtest", "bench", "demo", "ingest", "score", "settings", "store", "tables"}
    | {"telemetry", "terminal", "train"},
    "demo": {"app", "ingest", "settings", "store", "telemetry", "terminal"},
}  # fmt: skip
# Outside library -> where it may be imported (a part of the package, or a file of one).
FENCES: dict[str, set[str]] = {
    "kafka": {"ingest", "notify.kafka"},
    "torch": {"score", "train", "bench"},
    "transformers": {"score", "train", "bench"},
    "openvino": {"score", "train", "bench"},
    "nncf": {"score", "train"},
    "tokenizers": {"score", "train", "bench"},
    "safetensors": {"score", "train"},
    "sqlalchemy": {"store", "alembic"},
    "alembic": {"store", "alembic"},
    "apscheduler": {"watch", "app"},
    "typer": {"cli"},
    "fastapi": {"web", "app"},
    "starlette": {"web"},
    "uvicorn": {"web"},
    "jinja2": {"web", "notify.texts"},
    "prometheus_client": {"telemetry"},
}
NO_NAMES = {"models", "model", "utils", "util", "helpers", "common", "types", "base"}
# A variable is a noun for what it holds; these would fit any.
EMPTY_WORDS = {"one", "found", "told", "made", "several", "mine", "each", "thing", "stuff"}


class Import(NamedTuple):
    line: int
    target: str  # dotted, absolute


@cache
def parsed(source: str) -> ast.Module:
    """A file's tree; every rule looks through all of them."""
    return ast.parse(source)


def imports(source: str, module: str, is_package: bool) -> Iterator[Import]:
    """Every import of a module, also inside functions and under TYPE_CHECKING, as absolute dotted names."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            # "from sentiment_monitor import store" names a part only with what follows.
            yield from (Import(node.lineno, f"{origin}.{alias.name}") for alias in node.names)


def within(name: str, places: set[str]) -> bool:
    return any(name == place or name.startswith(place + ".") for place in places)


def violations(source: str, module: str, is_package: bool = False) -> list[tuple[int, str]]:
    """(line, what is wrong) for one module, named from the package down ("store.rows")."""
    part = module.partition(".")[0]
    allowed = MAY_IMPORT[part] | EVERYWHERE | {part}
    full = f"{PACKAGE}.{module}" if module else PACKAGE
    wrong = []
    for line, target in imports(source, full, is_package):
        root, _, rest = target.partition(".")
        if root == PACKAGE:
            # "from sentiment_monitor import __version__" imports no part.
            if rest and not rest.startswith("__") and not within(rest, allowed):
                wrong.append((line, f"{part or PACKAGE} must not import {PACKAGE}.{rest}"))
        elif root in FENCES and not within(module, FENCES[root]):
            wrong.append((line, f"{root} belongs only in {', '.join(sorted(FENCES[root]))}"))
    return wrong


def modules() -> dict[str, Path]:
    """Dotted name below the package -> file."""
    paths = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return paths


def test_every_module_keeps_the_import_rule() -> None:
    wrong = [
        f"{path}:{line}: {what}"
        for module, path in modules().items()
        for line, what in violations(path.read_text(), module, path.name == "__init__.py")
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def test_the_rooms_make_no_circle() -> None:
    order: list[str] = []

    def visit(room: str, above: tuple[str, ...]) -> None:
        assert room not in above, f"circle: {' -> '.join((*above, room))}"
        if room not in order:
            for other in sorted(MAY_IMPORT[room]):
                visit(other, (*above, room))
            order.append(room)

    for room in MAY_IMPORT:
        visit(room, ())


def circles(sources: dict[str, tuple[str, bool]]) -> list[list[str]]:
    """Files that import one another round about; ``sources`` gives text, and whether it is a package, by dotted name.

    An import inside a function or under TYPE_CHECKING counts like any other: files that cannot be read one after the
    other are a circle, whenever Python runs them.
    """
    imported: dict[str, set[str]] = {}
    for module, (source, is_package) in sources.items():
        imported[module] = set()
        for _, target in imports(source, f"{PACKAGE}.{module}".rstrip("."), is_package):
            root, _, file = target.partition(".")
            while file and file not in sources:
                file = file.rpartition(".")[0]
            if root == PACKAGE and file != module:
                imported[module].add(file)
    try:
        graphlib.TopologicalSorter(imported).prepare()
    except graphlib.CycleError as error:
        circle: list[str] = error.args[1]
        rest = {module: source for module, source in sources.items() if module not in circle}
        return [circle, *circles(rest)]
    return []


def test_no_files_import_one_another_round_about() -> None:
    sources = {module: (path.read_text(), path.name == "__init__.py") for module, path in modules().items()}
    assert [" -> ".join(circle) for circle in circles(sources)] == []


def test_a_circle_through_a_function_is_found() -> None:
    def picks(engine: str) -> str:
        return f"def start():\n    from {PACKAGE}.score.{engine} import Engine\n    return Engine()"

    sources = {
        "score": ("", True),
        "score.engines": (picks("torch_engine") + "\n" + picks("openvino_engine"), False),
        "score.torch_engine": (f"from {PACKAGE}.score.engines import Logits", False),
        "score.openvino_engine": ("from . import contract", False),
        "score.contract": ("", False),
        "store.rows": ("from .schema import metadata", False),
        "store.schema": ("if TYPE_CHECKING:\n    from .rows import Row", False),
    }
    assert sorted(sorted(set(circle)) for circle in circles(sources)) == [
        ["score.engines", "score.torch_engine"],
        ["store.rows", "store.schema"],
    ]


def test_the_table_has_a_row_for_each_room_and_allows_nothing_that_nobody_uses() -> None:
    rooms = {module.partition(".")[0] for module in modules()} - {"alembic"}  # that is inside an installed package
    assert rooms == set(MAY_IMPORT)
    used: dict[str, set[str]] = {room: set() for room in rooms}
    for module, path in modules().items():
        room = module.partition(".")[0]
        for _, target in imports(path.read_text(), f"{PACKAGE}.{module}".rstrip("."), path.name == "__init__.py"):
            root, _, rest = target.partition(".")
            if root == PACKAGE and rest.partition(".")[0] in rooms - EVERYWHERE - {room}:
                used[room].add(rest.partition(".")[0])
    assert {room: may - used[room] for room, may in MAY_IMPORT.items() if may - used[room]} == {}


def test_no_two_classes_have_one_name() -> None:
    places: dict[str, list[str]] = {}
    for module, path in modules().items():
        for node in ast.walk(parsed(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(module)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_no_file_is_longer_than_fits_in_a_head() -> None:
    long = {
        module: length for module, path in modules().items() if (length := len(path.read_text().splitlines())) > 450
    }
    assert long == {}


def test_no_file_has_a_name_that_says_nothing() -> None:
    wrong = [str(path) for path in SOURCE.rglob("*") if path.stem in NO_NAMES and path.suffix in {"", ".py"}]
    assert not wrong, "\n" + "\n".join(wrong)


def empty_words(source: str) -> list[tuple[int, str]]:
    """(line, name) wherever an argument or a variable, of a comprehension too, is called one of EMPTY_WORDS."""
    bound: list[tuple[int, str | None]] = []
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.append((node.lineno, node.id))
        elif isinstance(node, ast.arg):
            bound.append((node.lineno, node.arg))
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
            bound.append((node.lineno, node.name))
        elif isinstance(node, ast.MatchMapping):
            bound.append((node.lineno, node.rest))
        elif isinstance(node, ast.alias):
            bound.append((node.lineno, node.asname))
    return sorted((line, name) for line, name in bound if name in EMPTY_WORDS)


def test_no_variable_has_a_name_that_says_nothing() -> None:
    wrong = [f"{path}:{line}: {name}" for path in modules().values() for line, name in empty_words(path.read_text())]
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    found = 1",
        "def f():\n    first, *mine = g()",
        "def f(one): ...",
        "def f(*, told=None): ...",
        "def f(*several): ...",
        "lambda thing: thing",
        "for each in g(): ...",
        "[one for one in g()]",
        "with g() as made: ...",
        "if found := g(): ...",
        "try: ...\nexcept ValueError as thing: ...",
        "match g():\n    case [one, *_]: ...",
        "match g():\n    case {'a': 1, **stuff}: ...",
        "import json as thing",
    ],
)
def test_an_empty_word_is_found(source: str) -> None:
    assert len(empty_words(source)) == 1


def test_a_word_that_is_only_used_or_names_a_method_is_not_bound() -> None:
    assert empty_words("class A:\n    def told(self):\n        return self.found[0].one(each=1)") == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("store.rows", "from sentiment_monitor.score import classifier"),
        ("store.rows", "from sentiment_monitor import score"),
        ("store.rows", "from ..score import classifier"),
        ("store.rows", "def f():\n    import sentiment_monitor.score"),
        ("store.rows", "import torch"),
        ("detect.detectors.count", "from sentiment_monitor.settings import Rule"),
        ("settings", "from sentiment_monitor import store"),
        ("train.fit", "from sentiment_monitor.store import database"),
        ("stream.pipeline", "from sentiment_monitor.app import build"),
        ("stream.pipeline", "from sentiment_monitor.settings import Settings"),
        ("stream.pipeline", "import sqlalchemy.exc"),
        ("notify.webhook", "from kafka import KafkaProducer"),
        ("app", "import typer"),
        ("domain", "from sentiment_monitor.telemetry.log import configure"),
        ("tables", "from sentiment_monitor.score import text"),
        ("store.batches", "from sentiment_monitor.tables import read_cells"),
    ],
)
def test_a_breach_is_found(module: str, source: str) -> None:
    assert violations(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("store.rows", "from sentiment_monitor.domain import Story\nfrom sentiment_monitor.errors import Fenced"),
        ("store.rows", "from sentiment_monitor.store.schema import stories\nimport sqlalchemy as sa"),
        ("store.rows", "from . import schema\nfrom .schema import stories"),
        ("settings", "from sentiment_monitor.detect.rules import Rule"),
        ("settings", "from sentiment_monitor.detect import rules"),
        ("train.fit", "from sentiment_monitor.score import text\nimport torch.nn"),
        ("stream.pipeline", "from sentiment_monitor import __version__, store"),
        ("notify.kafka", "from kafka import KafkaProducer"),
        ("score.files", "from sentiment_monitor.tables import read_cells"),
        ("cli", "import typer\nfrom sentiment_monitor.app import build"),
        ("cli.score", "import typer\nfrom sentiment_monitor.cli import output"),
    ],
)
def test_what_the_rule_allows_passes(module: str, source: str) -> None:
    assert not violations(source, module)


def test_every_library_that_is_imported_is_declared() -> None:
    project = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text())["project"]
    # Tools for developers are not for the product.
    groups = [
        project["dependencies"],
        *(lines for extra, lines in project["optional-dependencies"].items() if extra != "dev"),
    ]
    declared = {canonicalize_name(Requirement(line).name) for lines in groups for line in lines}
    brought_by = importlib.metadata.packages_distributions()
    missing = {
        f"{path}:{line}: {target} is not in pyproject.toml"
        for module, path in modules().items()
        for line, target in imports(path.read_text(), f"{PACKAGE}.{module}", path.name == "__init__.py")
        if (root := target.partition(".")[0]) not in sys.stdlib_module_names | {PACKAGE}
        and not declared & {canonicalize_name(name) for name in brought_by.get(root, [])}
    }
    assert not missing, "\n" + "\n".join(sorted(missing))


# Runs in a new interpreter, in an empty folder that is also its HOME and TMPDIR.
_IMPORT_ALL = """
import importlib, sys, threading, warnings
warnings.simplefilter("ignore")  # other people's modules
for name in sys.argv[1:]:
    importlib.import_module(name)
    others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if others:
        sys.exit(f"importing {name} started threads: {others}")
"""


def test_no_two_files_of_tests_share_a_name() -> None:
    names = Counter(path.name for path in (SOURCE.parents[1] / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []  # pytest takes the second for the first


def test_importing_every_module_starts_no_thread_and_makes_no_file(tmp_path: Path) -> None:
    names = [".".join((PACKAGE, name)).rstrip(".") for name in modules() if not name.startswith("alembic")]
    names = [name for name in names if not name.endswith("__main__")]
    done = _python(tmp_path, _IMPORT_ALL, *names)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert [str(path) for path in (tmp_path / "home").rglob("*")] == []


def test_the_command_line_imports_without_torch(tmp_path: Path) -> None:
    if "cli" not in modules():
        pytest.skip("no cli yet")
    heavy = ["torch", "transformers", "openvino", "sqlalchemy", "scipy", "kafka", "apprise"]
    source = f"import sys, {PACKAGE}.cli; print(*[name for name in {heavy} if name in sys.modules])"
    done = _python(tmp_path, source)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_what_prints_results_imports_neither_web_server_nor_database(tmp_path: Path) -> None:
    heavy = ["fastapi", "starlette", "pydantic", "sqlalchemy", "scipy", "numpy"]
    source = f"import sys, {PACKAGE}.terminal; print(*[name for name in {heavy} if name in sys.modules])"
    done = _python(tmp_path, source)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


_RUN_AND_LIST = """
import sys
from {package}.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
print("heavy:", *[name for name in {names} if name in sys.modules])
"""


@pytest.mark.parametrize("arguments", [["alerts", "list", "--database", "sqlite:///monitor.sqlite"], ["config"]])
def test_what_only_reads_imports_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "home").mkdir()
    copy_migrated(tmp_path / "home" / "monitor.sqlite")
    heavy = ["torch", "transformers", "openvino", "scipy", "numpy", "kafka", "fastapi", "alembic", "apprise", "httpx"]
    source = _RUN_AND_LIST.format(package=PACKAGE, names=heavy)
    done = _python(tmp_path, source, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["heavy:"]


def _python(folder: Path, source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    home = folder / "home"
    home.mkdir(exist_ok=True)
    environment = {
        "HOME": str(home),
        "TMPDIR": str(home),
        "PATH": "",
        "PYTHONPATH": str(SOURCE.parent),  # this checkout, wherever the environment was made
        "PYTHONDONTWRITEBYTECODE": "1",
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "torch"),  # made by torch when its compiler is imported: not ours
    }
    return subprocess.run(
        [sys.executable, "-c", source, *arguments],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
