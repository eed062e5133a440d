"""Signing what the webhook sends, and the check for whoever receives it.

The scheme is the usual one (Stripe's, among others): ``X-Monitor-Signature: t=<seconds>,v1=<hex>`` with the
HMAC-SHA256 of ``"<seconds>.<body>"``. The time inside the signature makes an old copy of a genuine message useless.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

HEADER = "X-Monitor-Signature"
TOLERANCE_S = 300


def sign(secret: str, body: bytes, now_s: int) -> str:
    """The header's value."""
    return f"t={now_s},v1={_digest(secret, body, now_s)}"


def verify(
    secret: str, headers: Mapping[str, str], body: bytes, now_s: float, tolerance_s: float = TOLERANCE_S
) -> bool:
    """Whether ``body``, exactly as received, was signed with ``secret`` within ``tolerance_s`` of ``now_s``.

    Header names are compared without case. Several ``v1`` values are allowed, for a receiver between two secrets.
    False for anything malformed; never raises.
    """
    value = next((text for name, text in headers.items() if name.lower() == HEADER.lower()), "")
    parts = [part.strip().partition("=") for part in value.split(",")]
    times = [text for name, _, text in parts if name == "t"]
    # ASCII only: compare_digest refuses other text, and int() takes digits of every script.
    if len(times) != 1 or not times[0].isascii() or not times[0].isdigit() or len(times[0]) > 15:
        return False
    signed_s = int(times[0])
    if abs(now_s - signed_s) > tolerance_s:
        return False
    expected = _digest(secret, body, signed_s).encode()
    given = [text.encode() for name, _, text in parts if name == "v1"]
    return any(hmac.compare_digest(expected, candidate) for candidate in given)


def _digest(secret: str, body: bytes, seconds: int) -> str:
    return hmac.new(secret.encode(), str(seconds).encode() + b"." + body, hashlib.sha256).hexdigest()
