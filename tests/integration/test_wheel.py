"""The wheel, built as for a release and installed alone, away from the checkout, beside runtime packages only."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "sentiment_monitor"

if not (ROOT / "README.md").is_file():
    pytest.skip("no README.md: the wheel cannot be built", allow_module_level=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*command, "--wheel-dir", folder, ROOT], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def _runtime_distributions(root: str) -> Iterator[importlib.metadata.Distribution]:
    """What a plain installation brings: requirements without extras, theirs, and so on."""
    waiting = [(root, frozenset[str]())]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        if (key := (canonicalize_name(name), extras)) in seen:
            continue
        seen.add(key)
        distribution = importlib.metadata.distribution(name)
        if canonicalize_name(name) != root:
            yield distribution
        for line in distribution.requires or []:
            wanted = Requirement(line)
            if wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in (extras or {""})):
                waiting.append((wanted.name, frozenset(wanted.extras)))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel and links to the runtime packages of this one; no tests, no tools, no extras."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=120)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    site = venv / "lib" / version / "site-packages"
    for distribution in _runtime_distributions("sentiment-monitor"):
        for file in distribution.files or []:
            top = file.parts[0]
            if top not in {"..", "__pycache__"} and not (site / top).exists():
                (site / top).symlink_to(Path(str(distribution.locate_file(top))))
    into = ["--python", str(venv / "bin" / "python")]
    command = [sys.executable, "-m", "pip", *into, "install", "--no-deps", "--no-index", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (site / "pytest").exists()
    assert (site / "sqlalchemy").exists()
    return venv


def _run(command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MONITOR_"))}
    environment["HOME"] = str(folder)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


def test_the_wheel_holds_every_file_of_the_package(names: list[str]) -> None:
    wanted = {
        f"sentiment_monitor/{path.relative_to(PACKAGE)}"
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert not wanted - set(names)
    assert "sentiment_monitor/py.typed" in wanted
    if (PACKAGE / "score" / "bundled").is_dir():
        assert {
            "sentiment_monitor/score/bundled/manifest.json",
            "sentiment_monitor/score/bundled/model.safetensors",
        } <= (set(names))


def test_the_wheel_holds_the_migrations(names: list[str]) -> None:
    revisions = [path.name for path in (ROOT / "alembic" / "versions").glob("*.py")]
    assert revisions
    assert {
        "sentiment_monitor/alembic/env.py",
        "sentiment_monitor/web/static/monitor.js",
        "sentiment_monitor/web/templates/page.html",
        *(f"sentiment_monitor/alembic/versions/{name}" for name in revisions),
    } <= (set(names))


def test_the_wheel_holds_nothing_else(names: list[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    assert len(tops) == 2, tops
    assert {top.split("-")[0] for top in tops} == {"sentiment_monitor"}
    strange = [name for name in names if any(part in {"tests", "corpus", "__pycache__"} for part in name.split("/"))]
    assert not strange


def test_it_runs_alone(installed: Path, tmp_path: Path) -> None:
    done = _run([installed / "bin" / "monitor", "--help"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "run" in done.stdout
    done = _run([installed / "bin" / "monitor", "version"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == importlib.metadata.version("sentiment-monitor")
    where = _run(
        [installed / "bin" / "python", "-c", "import sentiment_monitor; print(sentiment_monitor.__file__)"], tmp_path
    )
    assert Path(where.stdout.strip()).is_relative_to(installed)


def test_it_migrates_a_database_with_its_own_migrations(installed: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.sqlite'}"
    first = _run([installed / "bin" / "monitor", "migrate", "--database", url], tmp_path)
    assert first.returncode == 0, first.stderr
    assert (tmp_path / "new.sqlite").stat().st_size > 0
    again = _run([installed / "bin" / "monitor", "migrate", "--database", url], tmp_path)
    assert again.returncode == 0, again.stderr
    assert "already" in again.stdout


def test_every_module_but_the_extras_imports_without_them(installed: Path, tmp_path: Path) -> None:
    modules = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if parts[1:2] not in [("train",), ("alembic",)] and parts[-1] != "__main__":
            modules.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    source = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    done = _run([installed / "bin" / "python", "-c", source, *modules], tmp_path)
    assert done.returncode == 0, done.stderr


def test_what_needs_an_extra_says_which(installed: Path, tmp_path: Path) -> None:
    done = _run([installed / "bin" / "monitor", "broker", "--port", "1"], tmp_path)
    assert done.returncode == 2
    assert "sentiment-monitor[demo]" in done.stderr
    assert "Traceback" not in done.stderr
