"""``monitor demo`` as a newcomer runs it, among settings that are not its own."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

MONITOR = [sys.executable, "-c", "from sentiment_monitor.cli import main; main()", "demo", "--stories", "200"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MONITOR_")}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[2] / "src"), "TMPDIR": str(tmp_path)}


def test_the_demo_needs_no_setting_and_tells_nobody(tmp_path: Path, environment: dict[str, str]) -> None:
    told: list[str] = []

    class Desk(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(self.path)
            self.send_response(204)
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Desk) as desk:
        threading.Thread(target=desk.serve_forever, daemon=True).start()
        (tmp_path / "monitor.toml").write_text(
            '[kafka]\nsecurity_protocol = "SSL"\n[news.mapping]\nheadline = "title"\n'
            '[[receivers]]\nname = "desk"\n'
            f'notifiers = [{{type = "webhook", url = "http://127.0.0.1:{desk.server_port}/pager"}}]\n'
        )
        ran = subprocess.run(
            [*MONITOR, "--keep", "kept"],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        desk.shutdown()
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Norwick Savings Bank (NRWK)" in ran.stdout
    assert "Every bucket equals a recomputation" in ran.stdout
    assert told == []
    assert {path.name for path in (tmp_path / "kept").iterdir()} >= {"demo.sqlite", "watchlist.csv"}
    for number in _numbers_with_vectors(tmp_path / "kept" / "demo.sqlite"):
        page = _explained(number, tmp_path, environment)
        assert "Norwick Savings Bank (NRWK)" in page.splitlines()[0]
        for part in ("Why: ", "< fired", "The first bad one", "Who was told"):
            assert part in page
        assert max(map(len, page.splitlines())) <= 60  # its stories have no links
        explained = json.loads(_explained(number, tmp_path, environment, "--json"))
        assert sum(step["negative"] for step in explained["steps"]) >= 3
        assert explained["first_story"]["p_negative"] > 0.5
        assert explained["similar"] == []  # both alerts are one episode of one bank


def _numbers_with_vectors(file: Path) -> list[int]:
    """The alerts that fired, each of which has been given a vector by the end of the run."""
    with closing(sqlite3.connect(file)) as connection:
        fired = [row[0] for row in connection.execute("SELECT id FROM alerts WHERE fired_minute IS NOT NULL")]
        vectors = dict(connection.execute("SELECT alert_id, length(vector) FROM alert_vectors"))
    assert vectors == dict.fromkeys(fired, 2 * 384)
    assert fired
    return fired


def _explained(number: int, folder: Path, environment: dict[str, str], *options: str) -> str:
    """What monitor alerts explain prints in a narrow terminal without an encoding to speak of."""
    command = [*MONITOR[:3], "alerts", "explain", str(number), "--database", "sqlite:///kept/demo.sqlite", *options]
    narrow = {**environment, "COLUMNS": "60", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    (folder / "monitor.toml").unlink(missing_ok=True)
    return subprocess.run(
        command, cwd=folder, env=narrow, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_an_interrupted_demo_has_lost_nothing(tmp_path: Path, environment: dict[str, str]) -> None:
    running = subprocess.Popen(
        [*MONITOR[:-1], "50000", "--keep", "kept"],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    logs = tmp_path / "kept" / "demo.log"
    deadline = time.monotonic() + 240
    while not (logs.exists() and "monitor.ready" in logs.read_text()):
        assert running.poll() is None, running.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    said = running.communicate(timeout=120)[0]
    assert running.returncode == 130, said
    assert "please report" not in said
    assert "Traceback" not in said


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "taken").write_text("")
    ran = subprocess.run(
        [*MONITOR, "--keep", "taken"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 2
    assert ran.stderr.startswith("monitor: --keep taken: no folder can be made there")
