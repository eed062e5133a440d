"""Serves the site from a thread of the service, and says so when it cannot."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable

import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from sentiment_monitor.errors import FatalError, SettingsError

_log = structlog.get_logger()

_PATIENCE_SECONDS = 5
_STOP_SECONDS = 5.0


class _Impatient(H11Protocol):
    """Hangs up on whoever connects and does not ask, as it does on whoever has been answered and asks no more."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn types it
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        patience = self.timeout_keep_alive_task
        super().data_received(data)
        asked = self.cycle is not None and not self.cycle.response_complete
        # A part of a question, letter by letter perhaps, wins no time.
        if patience and not asked and self.timeout_keep_alive_task is None and not self.transport.is_closing():
            self.timeout_keep_alive_task = self.loop.call_at(patience.when(), self.timeout_keep_alive_handler)


class _Stopping(logging.Filter):
    """A request that a stop has cut short is not an error worth a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


_STOPPING = _Stopping()


class WebServer:
    """One listening socket, taken at once: whoever cannot have it is told before anything else starts.

    ``host`` and ``port`` as in the settings; port 0 takes any free one. Raises SettingsError when the address cannot
    be listened on.
    """

    def __init__(self, host: str, port: int) -> None:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            self._socket = socket.socket(family, kind, protocol)
        except (OSError, UnicodeError) as error:
            raise SettingsError(f"web.host {host}: cannot be listened on: {error}") from None
        # A service that is started again must not wait for the connections of its former life.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind(address)
            self._socket.listen()  # or a second process with the same option could bind it as well
        except OSError as error:
            self._socket.close()
            raise SettingsError(
                f"web.port {port} on {host} cannot be listened on: {error.strerror}. Does another monitor run here? "
                "Choose another port (MONITOR_WEB__PORT, 0 takes any free one), or leave out the page: "
                "--roles ingest,detect"
            ) from None
        self.host, self.port = self._socket.getsockname()[:2]
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where this machine finds the page."""
        shown = {"0.0.0.0": "localhost", "::": "localhost"}.get(self.host, self.host)  # noqa: S104
        return f"http://{f'[{shown}]' if ':' in shown else shown}:{self.port}"

    def start(self, site: FastAPI, failed: Callable[[BaseException], None]) -> None:
        """Begins to answer. ``failed`` is called when that ends by itself."""
        self._server = uvicorn.Server(
            uvicorn.Config(
                site,
                http=_Impatient,
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_PATIENCE_SECONDS,
                timeout_graceful_shutdown=1,
            )
        )
        logging.getLogger("uvicorn.error").addFilter(_STOPPING)
        self._thread = threading.Thread(target=self._serve, args=(self._server, failed), name="web", daemon=True)
        self._thread.start()
        _log.info("web.listening", url=self.url)

    def _serve(self, server: uvicorn.Server, failed: Callable[[BaseException], None]) -> None:
        try:
            server.run(sockets=[self._socket])
            if not server.should_exit:
                raise FatalError("the web server ended by itself")
        except BaseException as error:  # noqa: BLE001  # whatever it is, the process must not go on without its page
            failed(error)

    def stop(self) -> None:
        """Answers what is being asked, a second long at most, and closes the socket."""
        if self._server and self._thread:
            self._server.should_exit = True
            self._thread.join(_STOP_SECONDS)
        self._socket.close()
