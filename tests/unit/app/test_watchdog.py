"""The watchdog, in processes that hang: by the interpreter's lock, by computing, by waiting; and in others."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys

import pytest

from sentiment_monitor.app.watchdog import EXIT_CODE

_PROGRAM = """
import re, sys, threading, time
from sentiment_monitor.app.watchdog import Watchdog
from sentiment_monitor.telemetry.turns import Turns

def holds_the_lock():
    re.fullmatch(r"(a|aa)+", "a" * 200 + "b")

def computes():
    while True:
        pass

def waits():
    threading.Event().wait()

def works():
    for _ in range(8):
        with turns:
            time.sleep(0.2)

turns = Turns("prepare")
with Watchdog([turns], {patience}):
    with turns:
        {hang}()
print("ended well")
"""


def _run(hang: str, patience: float, *, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    program = _PROGRAM.format(hang=hang, patience=patience)
    return subprocess.run([*before, sys.executable, "-c", program], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("hang", ["holds_the_lock", "computes", "waits"])
def test_a_loop_that_hangs_ends_the_process_with_its_stacks_and_a_code_of_its_own(hang: str) -> None:
    done = _run(hang, 0.3)
    assert done.returncode == EXIT_CODE == 14
    assert f"in {hang}" in done.stderr
    assert ("watchdog.ends" in done.stdout) == (hang != "holds_the_lock")


def test_the_first_process_of_a_container_is_ended_too() -> None:
    unshare = shutil.which("unshare")
    before = (unshare or "", "--user", "--pid", "--fork", "--map-root-user")
    if not unshare or subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no process namespace of our own here")
    assert _run("holds_the_lock", 0.3, before=before).returncode == EXIT_CODE


def test_a_loop_that_moves_is_left_alone_and_so_is_the_process_afterwards() -> None:
    done = _run("works", 1.0)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "ended well")


def test_the_signal_is_given_back() -> None:
    program = """
import faulthandler, signal, time
from sentiment_monitor.app.watchdog import Watchdog
with Watchdog([], 5):
    pass
signal.alarm(1)
time.sleep(10)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGALRM
