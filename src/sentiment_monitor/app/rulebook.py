"""Rules with all that a backtest needs beside them: who is told, what companies are called, where links lead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sentiment_monitor.app.policy import Policy
from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.dispatch.routes import Routes
from sentiment_monitor.settings.alerting import RuleExample
from sentiment_monitor.settings.load import Settings


@dataclass(frozen=True, slots=True)
class Rulebook:
    """The rules of some settings, and what belongs to them."""

    rules: tuple[Rule, ...]
    routes: Routes
    names: Mapping[str, str]  # what people call a ticker
    external_url: str
    examples: Mapping[str, tuple[RuleExample, ...]]  # by rule

    @classmethod
    def of(cls, settings: Settings) -> Rulebook:
        """Reads the files that the settings name. Raises SettingsError, UsageError."""
        policy = Policy.of(settings)
        policy.close()
        return cls(
            policy.rules,
            policy.routes,
            policy.watchlist.names,
            settings.external_url.rstrip("/"),
            {entry.name: entry.examples for entry in settings.rules or ()},
        )
