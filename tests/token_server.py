"""A token server of OpenID Connect on the loopback: the grant ``client_credentials``, and nothing else."""

from __future__ import annotations

import base64
import json
import threading
import urllib.parse
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class TokenServer:
    """Gives tokens to the client ``newsroom``; ``answer`` replaces what it says, ``elsewhere`` is a redirect."""

    def __init__(self, port: int = 0, token: Callable[[int], str] = "token-{}".format, seconds: int = 3600) -> None:
        self.secret = "correct-horse"
        self._token = token
        self._seconds = seconds
        self.asked: list[dict[str, str]] = []
        self.answer: tuple[int, bytes] | None = None
        self.elsewhere: str | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                outer.asked.append(dict(urllib.parse.parse_qsl(body)))
                status, content = outer.answer or outer.given(self.headers["Authorization"])
                self.send_response(302 if outer.elsewhere else status)
                if outer.elsewhere:
                    self.send_header("Location", outer.elsewhere)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/token"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def given(self, authorization: str) -> tuple[int, bytes]:
        expected = base64.b64encode(f"newsroom:{self.secret}".encode()).decode()
        if authorization != f"Basic {expected}":
            return 401, b'{"error": "invalid_client", "error_description": "unknown secret"}'
        token = {"access_token": self._token(len(self.asked)), "token_type": "Bearer", "expires_in": self._seconds}
        return 200, json.dumps(token).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
