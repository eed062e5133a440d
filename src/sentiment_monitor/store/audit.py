"""The audit: who changed what, written in the transaction of the change."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, insert

from sentiment_monitor.store.schema import audit

_LONGEST_ACTOR = 200  # characters


@dataclass(frozen=True, slots=True)
class Entry:
    """One change that somebody made."""

    at_ms: int
    actor: str  # a user of the command line's machine, or "api"
    action: str  # what was done, e.g. dead_letter.replay
    subject: str  # to what, e.g. dead_letter:7
    detail: Mapping[str, object] = field(default_factory=dict)  # JSON


def note(connection: Connection, entries: Sequence[Entry]) -> None:
    """Adds entries, in the caller's transaction."""
    connection.execute(
        insert(audit),
        [
            {
                "at_ms": entry.at_ms,
                "actor": entry.actor[:_LONGEST_ACTOR],
                "action": entry.action,
                "subject": entry.subject,
                "detail": json.dumps(entry.detail),
            }
            for entry in entries
        ],
    )
