"""Whether the settings by which a receiver knows us are still those that it refused, without keeping them.

The database remembers which access was refused, so that a start with other settings tries again. Passwords must not
be read off it: it keeps a slow hash with a salt (scrypt, RFC 7914).
"""

from __future__ import annotations

import hashlib
import hmac
import os

_COST = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}  # some tens of milliseconds and 16 MiB


def sealed(access: str) -> str:
    """What may be kept of ``Notifier.access``."""
    salt = os.urandom(16)
    return f"{salt.hex()}:{_hash(access, salt)}"


def fits(access: str, seal: str) -> bool:
    """Whether ``seal`` was made of this access."""
    salt, _, digest = seal.partition(":")
    return hmac.compare_digest(_hash(access, bytes.fromhex(salt)), digest)


def _hash(access: str, salt: bytes) -> str:
    return hashlib.scrypt(access.encode(), salt=salt, **_COST).hex()
