"""Every error this package raises on purpose.

The tree says what to do, not where it happened::

    MonitorError                 exit code when it reaches the command line
    ├── UsageError          2    the caller asked for something impossible: bad option, file, setting
    │   └── SettingsError   2    a settings file or environment variable is wrong
    ├── RecordError         -    this one record is bad: dead-letter it, go on
    ├── RetryLater          4    an outside system is away: hold, back off, try again
    │   ├── BrokerAway      4
    │   ├── DatabaseAway    4
    │   └── RegistryAway    4
    ├── Fenced              -    somebody else owns this work now: drop it, write nothing
    └── FatalError          1    stop the process, loudly
        ├── BrokerRefused   1    Kafka answers, and refuses us: a user, a password or a right
        ├── RegistryRefused 1    the schema registry answers, and refuses us, or is none
        ├── DatabaseRefused 1    the database answers, and refuses us: a password, a right, a missing table
        ├── ClassifierError 3    a classifier directory cannot be trusted or loaded
        └── PositionLost    5    the broker no longer has the offset that SQL says comes next
"""

from __future__ import annotations

import difflib
from collections.abc import Collection


def meant(name: str, names: Collection[str], *, prefix: str = "") -> str:
    """``is X meant?`` for the nearest of ``names``, whatever the case; nothing where none is near. For messages."""
    near = difflib.get_close_matches(name, names, n=1) or difflib.get_close_matches(name.lower(), names, n=1)
    return f"is {prefix}{near[0]} meant?" if near else ""


class MonitorError(Exception):
    """Base of every deliberate error. ``exit_code`` is what the command line returns for it."""

    exit_code = 1


class UsageError(MonitorError):
    """The caller asked for something that cannot be done; the message says what to change."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting is missing, unknown or out of range."""


class RecordError(MonitorError):
    """One record cannot be processed, now or ever.

    ``code`` is a stable machine-readable reason (see docs/data-contract.md), ``detail`` is for people.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class RetryLater(MonitorError):
    """An outside system does not answer. Nothing was done; the same call may succeed later."""

    exit_code = 4


class BrokerAway(RetryLater):
    """Kafka does not answer."""


class DatabaseAway(RetryLater):
    """The database does not answer, is locked for longer than we wait, full, sick or read-only."""


class RegistryAway(RetryLater):
    """The schema registry does not answer."""


class Fenced(MonitorError):
    """The position or lease in SQL has moved: another process owns this work. Nothing was written."""


class FatalError(MonitorError):
    """The process cannot go on."""


class BrokerRefused(FatalError):
    """Kafka does not know us, or does not let us do this; trying again does not help."""


class RegistryRefused(FatalError):
    """The schema registry does not know us, or what answers there is none; trying again does not help."""


class DatabaseRefused(FatalError):
    """The database does not know us, does not let us do this, or lacks what we need; trying again does not help."""


class ClassifierError(FatalError):
    """A classifier directory is missing, damaged, unsafe, or does not give its golden scores."""

    exit_code = 3


class PositionLost(FatalError):
    """The broker does not hold the next offset recorded in SQL (retention passed it, or the topic was remade)."""

    exit_code = 5
