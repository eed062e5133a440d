"""Who is told of which rule's alerts: receivers by rule, and the notifiers of each receiver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sentiment_monitor.domain.alerts import Telling


@dataclass(frozen=True, slots=True)
class Routes:
    """What the settings say of telling. Frozen: other settings make other routes."""

    tellings: Mapping[str, Telling]  # by rule
    notifiers: Mapping[str, tuple[str, ...]]  # names, by receiver

    def receivers(self, rule: str) -> tuple[str, ...]:
        """Who is to be told of the rule's alerts; nobody of a rule that is gone."""
        telling = self.tellings.get(rule)
        return telling.receivers if telling else ()

    def repeat_minutes(self, rule: str) -> int:
        """After how long a firing alert is told again; 0: never."""
        telling = self.tellings.get(rule)
        return telling.repeat_minutes if telling else 0
