"""A real HTTP server on this machine, and plain notifications to send it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sentiment_monitor.domain.alerts import Notification, TopStory, fingerprint
from sentiment_monitor.domain.payload import (
    NOT_ENDED,
    PayloadAlert,
    PayloadSentiment,
    encode,
    group,
    idempotency_key,
    labels,
)
from sentiment_monitor.times import rfc3339

START_MS = 1_678_468_860_000  # 2023-03-10T17:21:00Z


@dataclass
class Answer:
    """What the server says to one request."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    delay_s: float = 0.0
    drip_s: float = 0.0  # a pause after each byte of the body


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """A running server: answers in order, the last one for ever."""

    url: str
    answers: list[Answer]
    seen: list[Seen]


@contextmanager
def receiver(*answers: Answer) -> Iterator[Receiver]:
    """Listen on a free port."""
    queue = list(answers) or [Answer()]
    seen: list[Seen] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            seen.append(Seen(self.command, self.path, dict(self.headers.items()), body))
            answer = queue.pop(0) if len(queue) > 1 else queue[0]
            time.sleep(answer.delay_s)
            try:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if not answer.drip_s:
                    self.wfile.write(answer.body)
                for byte in answer.body if answer.drip_s else b"":
                    self.wfile.write(bytes([byte]))
                    time.sleep(answer.drip_s)
            except OSError:
                pass  # the client has left, as it should

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the library's name)
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Receiver(f"http://127.0.0.1:{server.server_port}", queue, seen)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def alert(*, series: str = "ticker:ACME", resolved: bool = False, severity: str = "warning") -> PayloadAlert:
    return PayloadAlert(
        status="resolved" if resolved else "firing",
        labels=labels("company-day", series, severity),
        annotations={"title": "Acme: 14 negative stories", "text": "What: ..."},
        startsAt=rfc3339(START_MS),
        endsAt=rfc3339(START_MS + 3_600_000) if resolved else NOT_ENDED,
        generatorURL="http://monitor.example/alerts/1",
        fingerprint=fingerprint("company-day", series),
        sentiment=PayloadSentiment(
            rule="company-day",
            series=series,
            window_minutes=1440,
            observed=14.0,
            expected=0.9,
            p_value=2e-9,
            q_value=3e-8,
            effect=15.5,
            volume=20.0,
            expected_share=0.22,
            top_stories=(
                TopStory(
                    id="1",
                    headline="Acme halts withdrawals – 银行",
                    source="newswire",
                    url="https://news.example/1",
                    published_at=rfc3339(START_MS),
                    p_negative=0.93,
                    copies=2,
                ),
            ),
            sources=("newswire", "ledger"),
            copies_collapsed=2,
            reason="fired: spike_burst",
        ),
    )


def notification(*, resolved: bool = False) -> Notification:
    one = alert(resolved=resolved)
    return Notification(
        key=idempotency_key(one.fingerprint, START_MS, "fired", START_MS // 60_000, "desk"),
        receiver="desk",
        notifier="hook",
        title="Acme: 14 negative stories in 24 h",
        text="What: 14 negative of 20 stories.\n- Acme halts withdrawals",
        body=encode(group("desk", [one], external_url="http://monitor.example")),
    )
