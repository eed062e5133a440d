"""Delivery by e-mail: plain text and HTML, over TLS, and one message for all recipients of a notification."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, NoReturn

from sentiment_monitor.domain import payload
from sentiment_monitor.domain.alerts import Notification
from sentiment_monitor.errors import SettingsError
from sentiment_monitor.notify.channels import HTML, MAIL, flat
from sentiment_monitor.notify.contract import DeliveryLater, NotifierRefused, NotifyRejected, Secret, value_of
from sentiment_monitor.notify.deadline import Deadline
from sentiment_monitor.notify.phrasing import Phrasing

Security = Literal["starttls", "tls", "none"]

_SAID = 200  # characters of what a server says that are shown
_LOGIN_WANTED = 530
_KEPT = 100  # notifications of which some recipients have it and others not yet


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed over, and as whom."""

    host: str
    port: int
    security: Security = "starttls"
    username: str | None = None
    password: Secret = ""
    cafile: Path | None = None  # certificates to trust instead of the system's


class SmtpNotifier:
    """Sends one message for a notification to all addresses.

    Its Message-ID is the idempotency key, so that mail systems can drop a second copy; mails of one group of alerts
    refer to one another. Of several recipients those that a server has taken are not sent it again as long as this
    process lives. Where the server will never take some, the others have it, and the notification counts as rejected.
    """

    def __init__(
        self, server: MailServer, *, sender: str, to: Sequence[str], phrasing: Phrasing, timeout_s: float = 30.0
    ) -> None:
        """Raises SettingsError for certificates that cannot be read."""
        self._server = server
        self._sender = sender
        self._to = tuple(to)
        self._phrasing = phrasing
        self._timeout_s = timeout_s
        self._domain = sender.rpartition("@")[2]
        self._taken: dict[str, set[str]] = {}  # by key: recipients that have it, while others do not
        self._lock = threading.Lock()  # of the two below
        self._closed = False
        self._deadline: Deadline | None = None
        try:
            self._context = ssl.create_default_context(cafile=server.cafile)
        except OSError as error:
            raise SettingsError(f"cafile {server.cafile}: {error.strerror or error}") from None

    def __repr__(self) -> str:
        return f"SmtpNotifier({self._where})"

    @property
    def _where(self) -> str:
        return f"mail server {self._server.host}:{self._server.port}"

    def send(self, notification: Notification, now_ms: int) -> None:
        """See ``Notifier.send``. A delivery is bounded by the timeout from connecting to the last answer."""
        message = self._message(notification, now_ms)
        with self._lock:
            if self._closed:
                raise DeliveryLater(f"{self._where}: the notifier is closed")
            deadline = self._deadline = Deadline(self._timeout_s)
        try:
            with deadline:
                refused = self._hand_over(message, notification.key, deadline)
        except smtplib.SMTPNotSupportedError as error:
            raise NotifierRefused(f"{self._where} does not offer what the settings ask for: {error}") from None
        except smtplib.SMTPRecipientsRefused as error:
            refused = error.recipients
        except smtplib.SMTPResponseException as error:
            self._judge(error)
        except ssl.SSLCertVerificationError as error:
            raise DeliveryLater(f"{self._where}: its certificate is not valid: {error.verify_message}") from None
        except (OSError, smtplib.SMTPException) as error:  # SMTPServerDisconnected among them
            late = deadline.passed or isinstance(error, TimeoutError)
            what = "did not answer in time" if late else "cannot be reached"
            raise DeliveryLater(f"{self._where} {what} ({type(error).__name__})") from None
        self._settle(notification.key, refused)

    def access(self) -> str:
        """See ``Notifier.access``."""
        server = self._server
        parts = (server.host, server.port, server.security, server.username, value_of(server.password), self._sender)
        return "\n".join(map(str, parts))

    def close(self) -> None:
        """Cut the connection, if there is one."""
        self._phrasing.close()
        with self._lock:
            self._closed = True
            if self._deadline is not None:
                self._deadline.cut()

    def _message(self, notification: Notification, now_ms: int) -> EmailMessage:
        plain = self._phrasing.of(notification, MAIL)
        formatted = self._phrasing.of(notification, HTML)
        group = payload.decode(notification.body)
        thread = blake2b(f"{group.groupKey} {group.alerts[0].startsAt}".encode(), digest_size=12).hexdigest()
        message = EmailMessage(policy=SMTP)
        message["Subject"] = plain.title
        message["From"] = self._sender
        message["To"] = ", ".join(self._to)
        message["Date"] = format_datetime(datetime.fromtimestamp(now_ms / 1000, UTC))
        message["Message-ID"] = f"<{notification.key}@{self._domain}>"
        message["In-Reply-To"] = message["References"] = f"<{thread}@{self._domain}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(plain.text(MAIL) + "\n", cte="base64")
        message.add_alternative(f"<html><body>\n{formatted.text(HTML)}\n</body></html>\n", subtype="html", cte="base64")
        message.set_boundary(f"=_{notification.key}")  # the same key, the same bytes
        return message

    def _hand_over(self, message: EmailMessage, key: str, deadline: Deadline) -> dict[str, tuple[int, bytes]]:
        """Gives the message to the server; the recipients that it did not take, and what it said of each."""
        recipients = [address for address in self._to if address not in self._taken.get(key, ())]
        session = _Session(self._server, self._context, self._timeout_s, deadline)
        try:
            session.connect(self._server.host, self._server.port)
            if self._server.security == "starttls":
                session.starttls(context=self._context)
            if self._server.username is not None:
                session.log_in(self._server.username, value_of(self._server.password))
            refused = session.send_message(message, self._sender, recipients)
            with contextlib.suppress(OSError, smtplib.SMTPException):  # it has the message, however it says goodbye
                session.quit()
        finally:
            session.close()
        self._taken.setdefault(key, set()).update(address for address in recipients if address not in refused)
        while len(self._taken) > _KEPT:
            self._taken.pop(next(iter(self._taken)))
        return refused

    def _judge(self, error: smtplib.SMTPResponseException) -> NoReturn:
        said = f"{self._where}: {_said(error.smtp_code, error.smtp_error)}"
        if 400 <= error.smtp_code < 500 or error.smtp_code < 100:
            raise DeliveryLater(said)
        if isinstance(error, smtplib.SMTPAuthenticationError) or error.smtp_code == _LOGIN_WANTED:
            raise NotifierRefused(said)
        raise NotifyRejected(f"smtp_{error.smtp_code}", said)

    def _settle(self, key: str, refused: dict[str, tuple[int, bytes]]) -> None:
        """Raises for recipients that were not taken: later if any may be, rejected when only others are left."""
        for address, (code, text) in refused.items():
            if 400 <= code < 500:
                raise DeliveryLater(f"{self._where}, recipient {address}: {_said(code, text)}")
        self._taken.pop(key, None)
        for address, (code, text) in refused.items():
            raise NotifyRejected(f"smtp_{code}", f"recipient {address}: {_said(code, text)}")


class _Session(smtplib.SMTP):
    """A connection to a mail server that a deadline may cut, over TLS from the start where that is wanted."""

    def __init__(self, server: MailServer, context: ssl.SSLContext, timeout_s: float, deadline: Deadline) -> None:
        super().__init__(timeout=timeout_s)
        self._host = server.host  # smtplib's own, whose name is checked against the certificate
        self._context = context if server.security == "tls" else None
        self._deadline = deadline

    def log_in(self, username: str, password: str) -> None:
        """Logs in by one mechanism. smtplib's own tries all: as many failures, of which a server allows few.

        Raises SMTPAuthenticationError, and SMTPNotSupportedError when the server offers none that we know.
        """
        self.ehlo_or_helo_if_needed()
        offered = self.esmtp_features.get("auth", "").split()
        self.user, self.password = username, password
        known: dict[str, Any] = {"PLAIN": self.auth_plain, "LOGIN": self.auth_login, "CRAM-MD5": self.auth_cram_md5}
        for mechanism, answers in known.items():
            if mechanism in offered:
                self.auth(mechanism, answers)
                return
        raise smtplib.SMTPNotSupportedError("it offers no login by PLAIN, LOGIN or CRAM-MD5")

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        """smtplib's own hook, by which its SMTP_SSL makes its connection too."""
        connection = socket.create_connection((host, port), timeout)
        self._deadline.watch(connection)
        if self._context is None:
            return connection
        with contextlib.ExitStack() as undo:
            undo.callback(connection.close)
            wrapped = self._context.wrap_socket(connection, server_hostname=host)
            undo.pop_all()
        return wrapped


def _said(code: int, text: bytes | str) -> str:
    spoken = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return f"{code} {flat(spoken)[:_SAID]}"
