"""The process in which apprise runs. It takes a URL and then notifications, a line of JSON each, and answers each.

Run as a file by ``notify/apprise.py`` and importing nothing of this package, so that it starts quickly. It ends with
its input, however long a delivery takes: nothing is left behind by a service that is killed.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from typing import Any, TextIO


def main() -> None:
    """Answer line by line: whether the URL is understood, then what became of each notification."""
    # A stop that reaches all processes of a service still lets it deliver what is due; it then closes our input.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a plugin that prints must not answer for us
    import apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # it logs URLs
    _refuse_redirects()
    service = apprise.Apprise()
    url = json.loads(sys.stdin.buffer.readline() or '""')
    _answer(answers, understood=bool(service.add(url)))
    for line in sys.stdin.buffer:
        threading.Thread(target=_deliver, args=(service, json.loads(line), answers), daemon=True).start()
    os._exit(0)  # apprise's threads would be waited for


def _refuse_redirects() -> None:
    """Make every redirect an error, whatever a plugin or the URL says: a POST would go on elsewhere, as a GET."""
    import requests

    send = requests.Session.send

    def send_once(self: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        response = send(self, request, **{**options, "allow_redirects": False})
        if 300 <= response.status_code < 400:
            raise requests.TooManyRedirects("a redirect", response=response)
        return response

    requests.Session.send = send_once  # type: ignore[method-assign]  # on purpose: every plugin sends by it


def _deliver(service: Any, notification: dict[str, Any], answers: TextIO) -> None:
    try:
        taken = service.notify(
            title=notification["title"],
            body=notification["text"],
            body_format="text",
            notify_type="success" if notification["resolved"] else "warning",
        )
        _answer(answers, taken=bool(taken))
    except Exception as error:  # noqa: BLE001 (a hundred plugins, and the message may hold the URL)
        _answer(answers, failed=type(error).__name__)


def _answer(answers: TextIO, **fields: object) -> None:
    answers.write(json.dumps(fields) + "\n")


if __name__ == "__main__":
    main()
