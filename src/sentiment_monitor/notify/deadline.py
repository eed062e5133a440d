"""The deadline of a delivery: cuts its connection when the time is over, however slowly the other side drips."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType


class Deadline:
    """For one exchange over one connection. A client's own timeouts begin anew with every byte; this one does not."""

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self.cut)
        self._timer.daemon = True

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._timer.join()
        if self._socket is not None:
            self._socket.close()

    def watch(self, connection: socket.socket) -> None:
        """The connection that has just been made."""
        # A duplicate: TLS takes the socket over, also in the midst of its handshake, and the client closes it.
        self._socket = connection.dup()
        if self.passed:
            self.cut()

    def cut(self) -> None:
        """End the exchange now: whatever waits for the other side fails."""
        self.passed = True
        if self._socket is not None:
            # OSError: the other side has hung up meanwhile.
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
