"""Leadership: this process holds the detect lease while it can, so that several replicas raise an alert once."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from sentiment_monitor.store.leases import Lease, LeaseStore

_log = structlog.get_logger()


class Leadership:
    """Holds the detect lease while it can; several replicas raise an alert once."""

    def __init__(self, leases: LeaseStore, holder: str, ttl_ms: int, now_ms: Callable[[], int]) -> None:
        self._leases = leases
        self._holder = holder
        self._ttl_ms = ttl_ms
        self._now_ms = now_ms
        self._leading = False
        self._until_ms = 0

    @property
    def leading(self) -> bool:
        """Whether this process holds the lease, as far as it can know: not longer than it was granted."""
        return self._leading and self._now_ms() < self._until_ms

    def lease(self) -> Lease | None:
        """The lease, taken or renewed now; None while another replica leads. Raises DatabaseAway."""
        now = self._now_ms()
        lease = self._leases.acquire(self._holder, now, self._ttl_ms)
        self._until_ms = now + self._ttl_ms
        if (lease is not None) != self._leading:
            self._leading = lease is not None
            _log.info("detect.leading" if lease else "detect.following", holder=self._holder)
        return lease

    def release(self) -> None:
        """Lets another replica lead at once."""
        if self._leading and (lease := self._leases.acquire(self._holder, self._now_ms(), self._ttl_ms)):
            self._leases.release(lease)
        self._leading = False
