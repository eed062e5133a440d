"""The page of a real process in a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from integration.harness import Monitor, Results, invent, send, service, until
from sentiment_monitor.ingest.embedded import EmbeddedBroker

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> str:
    installed = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if installed is None:
        pytest.skip("no Chromium on this machine")
    return installed


@pytest.fixture
def page(embedded_broker: EmbeddedBroker, tmp_path: Path) -> Iterator[Monitor]:
    name = f"page{uuid.uuid4().hex[:10]}"
    feed = invent(600, seed=11)
    database = f"sqlite:///{tmp_path / 'monitor.sqlite'}"
    send(embedded_broker.address, name, feed.messages)
    with service(tmp_path, embedded_broker.address, name, name, database) as running:
        monitor = running.run()
        with Results(database, name) as results:
            until(lambda: results.position() == len(feed.messages), "the feed to be read", of=monitor)
        yield monitor


def _url(monitor: Monitor) -> str:
    return str(monitor.await_event("web.listening")["url"])


def _open(browser: str, url: str, folder: Path, seconds: int = 5) -> tuple[str, list[str]]:
    """The page as it is after its scripts have run for some (virtual) seconds, and what they complained about."""
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", f"--user-data-dir={folder}", "--enable-logging=stderr",
         f"--virtual-time-budget={seconds * 1000}", "--window-size=1280,1400", "--dump-dom", url],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, complaints


@pytest.mark.parametrize("address", ["/", "/series?name=all&since=7d", "/alerts", "/dead-letters"])
def test_a_browser_shows_every_page_and_complains_of_nothing(
    browser: str, page: Monitor, tmp_path: Path, address: str
) -> None:
    shown, complaints = _open(browser, _url(page) + address, tmp_path / "profile")
    assert complaints == []
    assert "</footer>" in shown
    if "all" in address or address == "/":
        bars = re.findall(r'<g class="trace bars"', shown)
        assert len(bars) == 3, "negative, neutral and positive are drawn"
        assert "mean score" in shown


# Somebody without a mouse: which link of the page they are at after it has been made anew.
KEYBOARD = b"""<script>
document.querySelector("main a[href$=pending]").focus();
setTimeout(() => { document.body.dataset.held = document.activeElement.getAttribute("href"); }, 17000);
</script>"""


def test_an_open_page_keeps_itself_current_and_says_when_it_cannot(browser: str, page: Monitor, tmp_path: Path) -> None:
    # A stand-in for the server in the middle of the page's life: its answers differ from one request to the next.
    origin, asked = _url(page), [0]

    class Changing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = httpx.get(origin + self.path)
            body = answer.content
            if self.path == "/alerts":
                asked[0] += 1
                body = body.replace(b"<h1>Alerts</h1>", f"<h1>Look number {asked[0]}</h1>".encode())
                body = body.replace(b"</body>", KEYBOARD + b"</body>")
            self.send_response(503 if asked[0] == 3 and self.path == "/alerts" else 200)
            self.send_header("Content-Type", answer.headers["content-type"])
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Changing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            address = f"http://127.0.0.1:{server.server_address[1]}/alerts"
            later, _ = _open(browser, address, tmp_path / "one", seconds=20)
            assert "Look number 2" in later
            assert re.search(r'id="lost"[^>]*hidden', later)
            assert 'data-held="alerts?state=pending"' in later
            asked[0] = 1
            lost, _ = _open(browser, address, tmp_path / "two", seconds=20)
            assert "Look number 2" in lost
            assert not re.search(r'id="lost"[^>]*hidden', lost)
        finally:
            server.shutdown()
            thread.join()


def test_metrics_of_a_running_process_tell_what_it_did(page: Monitor) -> None:
    text = httpx.get(_url(page) + "/metrics").text
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    with_prefix = {key[0].removeprefix("sentiment_monitor_"): value for key, value in values.items() if len(key) == 1}
    assert with_prefix["records_total"] == 600
    assert with_prefix["assigned_partitions"] == 3
    assert values["sentiment_monitor_stage_busy_seconds_total", "write"] > 0
    assert {key[1:] for key in values if key[0] == "sentiment_monitor_stage_waiting_records"} == {
        ("prepare",), ("score",), ("write",),
    }  # fmt: skip
    assert sum(value for key, value in values.items() if key[0] == "sentiment_monitor_lag_records") == 0
    assert with_prefix["leading"] == 1
    assert 0 < with_prefix["dead_letters_total"] < 600


def test_a_second_copy_with_the_same_port_is_refused_and_leaves_the_first_alone(page: Monitor, tmp_path: Path) -> None:
    port = _url(page).rpartition(":")[2]
    second = Monitor(
        tmp_path / "second.log",
        "run", "--roles", "web", "--database", f"sqlite:///{tmp_path / 'monitor.sqlite'}",
        settings={"MONITOR_WEB__PORT": port},
    )  # fmt: skip
    assert second.wait(30) == 2
    assert f"web.port {port} on 127.0.0.1 cannot be listened on" in second.text()
    assert httpx.get(_url(page) + "/readyz").status_code == 200
