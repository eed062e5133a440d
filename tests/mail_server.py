"""A real mail server on this machine: aiosmtpd, with TLS and logins, and answers that a test chooses."""

from __future__ import annotations

import asyncio
import email
import email.policy
import socket
import ssl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Literal

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

_FOLDER = Path(__file__).parent / "data" / "mail"
CERTIFICATE = _FOLDER / "cert.pem"  # for localhost and 127.0.0.1
USER, PASSWORD = "desk", "pass word"


@dataclass
class MailBox:
    """What a server has taken, and what it says: by recipient, to all data, and how long it thinks about it."""

    port: int
    taken: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    recipient_answers: dict[str, list[str]] = field(default_factory=dict)  # in order, the last one for ever
    data_answers: list[str] = field(default_factory=list)  # in order; then 250
    delay_s: float = 0.0


class _Handler:
    def __init__(self, box: MailBox) -> None:
        self._box = box

    async def handle_RCPT(  # noqa: N802 (aiosmtpd's name)
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        answers = self._box.recipient_answers.get(address, ["250 OK"])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer.startswith("2"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        await asyncio.sleep(self._box.delay_s)
        answer = self._box.data_answers.pop(0) if self._box.data_answers else "250 OK"
        if answer.startswith("2"):
            message = email.message_from_bytes(envelope.content, policy=email.policy.default)
            self._box.taken.append(message)
            self._box.recipients.append(list(envelope.rcpt_tos))
        return answer


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def mail_server(
    security: Literal["starttls", "tls", "none"] = "none", *, login: bool = False, port: int | None = None
) -> Iterator[MailBox]:
    """Listens on a port. ``login``: nobody is served who does not log in as ``USER``."""
    box = MailBox(port or free_port())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE, _FOLDER / "key.pem")

    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: object) -> AuthResult:
        right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=right, handled=False)

    options: dict[str, Any] = {"starttls": {"tls_context": context}, "tls": {"ssl_context": context}}.get(security, {})
    controller = Controller(
        _Handler(box),
        hostname="127.0.0.1",
        port=box.port,
        authenticator=authenticate,
        auth_required=login,
        auth_require_tls=security != "tls",
        **options,
    )
    with warnings.catch_warnings():
        # It does not see that the whole connection is encrypted, and warns of logins.
        warnings.filterwarnings("ignore", "Requiring AUTH while not requiring TLS")
        controller.start()
        try:
            yield box
        finally:
            controller.stop()
