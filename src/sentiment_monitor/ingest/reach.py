"""Which brokers answer: one line when one no longer does, one when it is back."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import structlog

_log = structlog.get_logger()

_REMIND_SECONDS = 300.0
_RENEWED_SECONDS = 30.0  # a broker that is needed is tried every few seconds


@dataclass(slots=True)
class _Outage:
    began: float  # monotonic seconds
    said: float
    error: str


@dataclass(slots=True)
class _Refusal:
    began: float
    insisted: float  # since when we have tried without a pause
    renewed: float
    error: Exception


class Reach:
    """What is known of the brokers, by address. Safe to use from any thread.

    ``hint`` follows the reason wherever waiting may not be all that helps.
    """

    def __init__(self, hint: str = "") -> None:
        self._hint = hint
        self._lock = threading.Lock()
        self._answering: set[str] = set()
        self._outages: dict[str, _Outage] = {}
        self._refusals: dict[str, _Refusal] = {}

    def failed(self, address: str, error: str) -> None:
        """A connection could not be made, or somebody else than a broker answered."""
        now = time.monotonic()
        with self._lock:
            self._answering.discard(address)
            outage = self._outages.get(address)
            first = outage is None
            if outage is None:
                outage = self._outages[address] = _Outage(now, now, error)
            outage.error = error
            if not first and now - outage.said < _REMIND_SECONDS:
                return
            outage.said = now
        _log.warning("broker.away", address=address, error=error + self._hint, seconds=round(now - outage.began))

    def answered(self, address: str) -> None:
        """A connection was made."""
        with self._lock:
            self._answering.add(address)
            outage, refusal = self._outages.pop(address, None), self._refusals.pop(address, None)
        began = outage.began if outage else refusal.began if refusal else None
        if began is not None:
            _log.info("broker.back", address=address, seconds=round(time.monotonic() - began, 1))

    def refused(self, address: str, error: Exception) -> None:
        """The broker is there, and does not let us in."""
        now = time.monotonic()
        with self._lock:
            refusal = self._refusals.get(address)
            first = refusal is None
            if refusal is None:
                refusal = self._refusals[address] = _Refusal(now, now, now, error)
            if now - refusal.renewed > _RENEWED_SECONDS:
                refusal.insisted = now
            refusal.renewed = now
            self._outages.pop(address, None)
            self._answering.discard(address)
        if first:
            _log.warning("broker.refuses", address=address, error=str(error))

    def refused_for(self, seconds: float) -> Exception | None:
        """The refusal of a broker that has let us in no more for so long.

        While others answer only one that is tried all the time counts: nobody is in need of another.
        """
        now = time.monotonic()
        with self._lock:
            for refusal in self._refusals.values():
                if self._answering and now - refusal.renewed > _RENEWED_SECONDS:
                    continue
                if now - (refusal.insisted if self._answering else refusal.began) >= seconds:
                    return refusal.error
        return None

    @property
    def away(self) -> str | None:
        """Why no broker can be reached; None while one can, or none has been tried."""
        with self._lock:
            reasons = {address: outage.error for address, outage in self._outages.items()}
            reasons |= {address: str(refusal.error) for address, refusal in self._refusals.items()}
            if self._answering or not reasons:
                return None
            return "; ".join(f"{address}: {reason}" for address, reason in sorted(reasons.items()))
