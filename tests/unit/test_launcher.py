"""The launcher ``monitor``, run for real on a small checkout whose packages lie in a folder: no network, no torch."""

from __future__ import annotations

import ast
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = ROOT / "monitor"

PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "program"
version = "{version}"

[tool.ruff]
line-length = {line_length}
"""
# The smallest build backend: an editable wheel with one console script.
BACKEND = """\
import pathlib, zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "program-1-py3-none-any.whl"
    files = {
        "program.pth": str(pathlib.Path(__file__).parent) + "\\n",
        "program-1.dist-info/METADATA": "Metadata-Version: 2.1\\nName: program\\nVersion: 1\\n",
        "program-1.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        "program-1.dist-info/entry_points.txt": "[console_scripts]\\nmonitor = program:main\\n",
    }
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
        files["program-1.dist-info/RECORD"] = ""
        wheel.writestr("program-1.dist-info/RECORD", "".join(f"{path},,\\n" for path in files))
    return name

def build_wheel(*arguments, **named):
    raise NotImplementedError
"""
PROGRAM = """\
import json, os, signal, sys, time, tiny

def main():
    if sys.argv[1:] == ["wait"]:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        print("waiting", flush=True)
        time.sleep(60)
    print(json.dumps({"pid": os.getpid(), "cwd": os.getcwd(), "arguments": sys.argv[1:], "tiny": tiny.VERSION}))
    sys.exit(5)
"""


@dataclass
class Checkout:
    """A fresh clone on a bare machine."""

    root: Path
    packages: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    @property
    def stamp(self) -> Path:
        return self.venv / "monitor.stamp"

    @property
    def log(self) -> str:
        return (self.venv / "install.log").read_text()

    def lock(self, version: str) -> None:
        (self.root / "requirements.lock").write_text(f"tiny=={version}\n")

    def pyproject(self, version: str = "1", line_length: int = 100) -> None:
        (self.root / "pyproject.toml").write_text(PYPROJECT.format(version=version, line_length=line_length))

    def start(self, *arguments: str, **named: Any) -> subprocess.Popen[str]:
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root.parent),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.packages),
            **self.environment,
            **named.pop("env", {}),
        }
        command = [sys.executable, named.pop("path", self.root / "monitor"), *arguments]
        named.setdefault("stdout", subprocess.PIPE)
        return subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True, **named)

    def run(self, *arguments: str, **named: Any) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **named)
        out, err = process.communicate(timeout=240)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def setting_up(self) -> subprocess.Popen[str]:
        """A launcher that has just begun to make the environment, in a process group of its own."""
        process = self.start("--setup-only", start_new_session=True)
        deadline = time.monotonic() + 60
        while not (self.venv / "pyvenv.cfg").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return process


def _checkout(folder: Path) -> Checkout:
    packages = folder / "packages"
    packages.mkdir()
    for version in ("1.0", "2.0"):
        with zipfile.ZipFile(packages / f"tiny-{version}-py3-none-any.whl", "w") as wheel:
            info = f"tiny-{version}.dist-info"
            wheel.writestr("tiny.py", f"VERSION = '{version}'\n")
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    root = folder / "checkout with space"
    root.mkdir()
    shutil.copy(LAUNCHER, root / "monitor")
    (root / "backend.py").write_text(BACKEND)
    (root / "program.py").write_text(PROGRAM)
    checkout = Checkout(root, packages)
    checkout.lock("1.0")
    checkout.pyproject()
    return checkout


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout whose environment the first start has made. Tests leave it as good as they found it."""
    checkout = _checkout(tmp_path_factory.mktemp("ready"))
    done = checkout.run("first", "start")
    assert done.returncode == 5, done.stderr
    assert json.loads(done.stdout)["tiny"] == "1.0"
    assert "making the environment" in done.stderr
    assert "environment ready" in done.stderr
    return checkout


@pytest.fixture
def fresh(tmp_path: Path) -> Checkout:
    return _checkout(tmp_path)


def test_a_second_start_installs_nothing_and_says_nothing(ready: Checkout) -> None:
    before = ready.log
    done = ready.run("again")
    assert done.returncode == 5
    assert done.stderr == ""
    assert ready.log == before


def test_the_program_takes_the_place_of_the_launcher(ready: Checkout, tmp_path: Path) -> None:
    link = tmp_path / "somewhere" / "monitor"
    link.parent.mkdir()
    link.symlink_to(ready.root / "monitor")
    process = ready.start("--file", "relative.csv", "", "a b", cwd=tmp_path, path=link)
    out, _ = process.communicate(timeout=60)
    told = json.loads(out)
    assert told["pid"] == process.pid  # so that signals reach the program, and systemd sees the right process
    assert told["arguments"] == ["--file", "relative.csv", "", "a b"]
    assert Path(told["cwd"]) == tmp_path


def test_a_signal_reaches_the_program_and_its_exit_code_comes_back(ready: Checkout) -> None:
    process = ready.start("wait")
    assert process.stdout
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 7
    process.communicate()


def test_settings_of_tools_do_not_remake_it_but_package_tables_reinstall_the_project(ready: Checkout) -> None:
    ready.pyproject(line_length=120)
    assert ready.run().stderr == ""
    ready.pyproject(version="2", line_length=120)
    done = ready.run()
    assert "installing sentiment-monitor itself" in done.stderr
    assert "making the environment" not in done.stderr
    assert ready.run().stderr == ""


def test_a_changed_lock_remakes_it(ready: Checkout) -> None:
    leftover = ready.venv / "leftover"
    leftover.touch()
    ready.lock("2.0")
    done = ready.run()
    assert "the lock changed" in done.stderr
    assert json.loads(done.stdout)["tiny"] == "2.0"
    assert not leftover.exists()
    assert ready.run().stderr == ""


def test_an_interrupted_or_killed_set_up_is_never_used_and_is_repaired(fresh: Checkout) -> None:
    process = fresh.setting_up()
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert not fresh.stamp.exists()

    process = fresh.start("--setup-only", start_new_session=True)
    time.sleep(0.7)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert not fresh.stamp.exists()

    done = fresh.run()
    assert done.returncode == 5, done.stderr
    assert "making the environment" in done.stderr


def test_of_two_at_once_the_second_waits_and_installs_nothing(fresh: Checkout) -> None:
    first = fresh.setting_up()
    second = fresh.run()
    _, err = first.communicate(timeout=240)
    assert first.returncode == 0, err
    assert f"waiting for another ./monitor that is setting up (process {first.pid})" in second.stderr
    assert second.returncode == 5
    assert fresh.log.count("-m venv") == 1


def test_a_terminated_launcher_takes_its_installer_with_it(fresh: Checkout) -> None:
    process = fresh.setting_up()
    process.terminate()  # the launcher alone, not its group
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, err
    with (fresh.root / ".venv.lock").open() as lock:  # the installer inherits it
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_an_environment_that_another_program_made_is_left_alone(fresh: Checkout) -> None:
    precious = fresh.root.parent / "home" / "thesis.txt"
    precious.parent.mkdir()
    precious.touch()
    done = fresh.run(env={"MONITOR_VENV": str(precious.parent)})
    assert done.returncode == 2
    assert "was not made by ./monitor" in done.stderr
    assert precious.exists()


def test_a_place_that_cannot_be_written_is_named_with_the_way_out(fresh: Checkout) -> None:
    done = fresh.run(env={"MONITOR_VENV": "/proc/nowhere/venv"})
    assert done.returncode == 2
    assert "/proc/nowhere" in done.stderr
    assert "MONITOR_VENV=" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_ensurepip_the_package_to_install_is_named(fresh: Checkout, tmp_path: Path) -> None:
    shadow = tmp_path / "shadow"
    shadow.mkdir()
    (shadow / "ensurepip.py").write_text("raise ImportError(\"No module named 'ensurepip'\")\n")
    done = fresh.run(env={"PYTHONPATH": str(shadow)})
    assert done.returncode == 2
    assert "apt install python3-venv" in done.stderr
    assert not fresh.venv.exists()


def test_without_network_it_says_so_and_cleanly_starts_again_later(fresh: Checkout) -> None:
    nowhere = {"PIP_NO_INDEX": "0", "PIP_FIND_LINKS": "", "PIP_RETRIES": "1", "PIP_INDEX_URL": "http://127.0.0.1:9/"}
    done = fresh.run(env=nowhere)
    assert done.returncode == 4, done.stderr
    assert "the package index does not answer" in done.stderr
    assert not fresh.stamp.exists()


def test_a_package_that_does_not_exist_is_shown_with_the_end_of_the_log(fresh: Checkout) -> None:
    fresh.lock("3.0")
    done = fresh.run()
    assert done.returncode == 2, done.stderr
    assert "No matching distribution found for tiny==3.0" in done.stderr
    assert "No matching distribution found for tiny==3.0" in fresh.log


def test_a_folder_that_is_no_checkout_is_refused(fresh: Checkout) -> None:
    (fresh.root / "requirements.lock").unlink()
    done = fresh.run()
    assert done.returncode == 2
    assert "requirements.lock" in done.stderr


def test_an_old_python_can_read_it_and_is_told_what_is_needed(tmp_path: Path) -> None:
    source = LAUNCHER.read_text()
    ast.parse(source, feature_version=(3, 7))
    assert not re.search(r":=|^\s*match |async def", source, re.MULTILINE)
    # The whole file, run by a Python that says it is 3.6, with no other on PATH.
    pretend = f"import sys; sys.version_info = (3, 6, 15); __file__ = {str(LAUNCHER)!r}; exec(open(__file__).read())"
    done = subprocess.run(
        [sys.executable, "-c", pretend],
        env={"PATH": str(tmp_path), "MONITOR_VENV": str(tmp_path / "venv")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "needs Python 3.11 or newer, found 3.6.15; install it" in done.stderr


def test_it_is_executable() -> None:
    assert os.access(LAUNCHER, os.X_OK)
    assert LAUNCHER.read_text().startswith("#!/usr/bin/env python3\n")


# -- the lock -----------------------------------------------------------------------------------------------------


def _pins() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_the_lock_satisfies_every_requirement_of_the_project() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = pyproject["project"]
    pins = _pins()
    groups = [
        project["dependencies"],
        *project["optional-dependencies"].values(),
        pyproject["build-system"]["requires"],
    ]
    unmet = []
    for line in (line for group in groups for line in group):
        wanted = Requirement(line)
        if wanted.name == project["name"]:
            continue
        pin = pins.get(canonicalize_name(wanted.name))
        if pin is None or not wanted.specifier.contains(pin):
            unmet.append(f"{line}: the lock has {pin}")
    assert not unmet, "run scripts/lock:\n" + "\n".join(unmet)


def test_the_lock_names_releases_only() -> None:
    for name, version in _pins().items():
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]*", name), name
        assert re.fullmatch(r"[0-9][0-9a-z.]*", version), f"{name}: no local builds, addresses or markers: {version}"
