"""Leadership: this process holds the detect lease while it can, so that several replicas raise an alert once.

How long a lease lasts is told by wall clocks, which jump. So both sides measure it by their own monotonic clock as
well: a leader leads no longer than it was granted, and a follower takes a lease that nobody has renewed for as long
as one lasts, whatever it says about its end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from sentiment_monitor.store.leases import Grant, Lease, LeaseStore

_log = structlog.get_logger()


class Leadership:
    """Holds the detect lease while it can. Safe to share between threads."""

    def __init__(
        self,
        leases: LeaseStore,
        holder: str,
        ttl_ms: int,
        now_ms: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._leases = leases
        self._holder = holder
        self._ttl_ms = ttl_ms
        self._now_ms = now_ms
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._leading = False
        self._until = 0.0  # monotonic seconds
        self._other: Grant | None = None  # another's grant as last seen
        self._other_since = 0.0  # monotonic seconds: it stands unchanged

    @property
    def leading(self) -> bool:
        """Whether this process holds the lease, as far as it can know: not longer than it was granted."""
        return self._leading and self._monotonic() < self._until

    @property
    def ttl_seconds(self) -> float:
        """How long a lease lasts that nobody renews."""
        return self._ttl_ms / 1000

    def lease(self) -> Lease | None:
        """The lease, taken or renewed now; None while another replica leads. Raises DatabaseAway."""
        with self._lock:
            began = self._monotonic()
            lease = self._leases.acquire(self._holder, self._now_ms(), self._ttl_ms)
            if lease is None:
                lease = self._abandoned(began)
            self._until = began + self.ttl_seconds
            if (lease is not None) != self._leading:
                self._leading = lease is not None
                _log.info("detect.leading" if lease else "detect.following", holder=self._holder)
            return lease

    def release(self) -> None:
        """Lets another replica lead at once."""
        with self._lock:
            if self._leading and (lease := self._leases.acquire(self._holder, self._now_ms(), self._ttl_ms)):
                self._leases.release(lease)
            self._leading = False

    def _abandoned(self, began: float) -> Lease | None:
        """Another's lease, taken from it when it has stood as it is for longer than a lease lasts."""
        grant = self._leases.grant()
        if grant is None or grant != self._other:
            self._other, self._other_since = grant, began
            return None
        if began - self._other_since < self.ttl_seconds:
            return None
        now_ms = self._now_ms()
        lease = self._leases.acquire(self._holder, now_ms, self._ttl_ms, abandoned=grant)
        if lease is not None:
            _log.error(
                "detect.lease_not_believed",
                reason="not renewed for as long as a lease lasts: its holder is gone, and had a clock that ran ahead",
                holder=grant.holder,
                claims_seconds=round((grant.expires_ms - now_ms) / 1000),
                unchanged_seconds=round(began - self._other_since, 1),
            )
        return lease
