from __future__ import annotations

import pytest

from sentiment_monitor.detect.rules import DEFAULT_RULES, Rule, check_rules
from sentiment_monitor.errors import SettingsError


def test_default_rules_are_valid_and_named_apart() -> None:
    assert check_rules(DEFAULT_RULES) == DEFAULT_RULES
    assert {rule.window_minutes for rule in DEFAULT_RULES if rule.basis == "count"} == {60, 1440}


def test_a_rule_watches_its_dimensions_and_globs_only() -> None:
    rule = Rule(name="banks", dimensions=("ticker", "all"), series=("ticker:*BANK", "all"))
    assert rule.matches("all")
    assert rule.matches("ticker:MYBANK")
    assert not rule.matches("ticker:AAPL")
    assert not rule.matches("source:MYBANK")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "two words"),
        ("basis", "mood"),
        ("dimensions", ()),
        ("dimensions", ("country",)),
        ("window_minutes", 0),
        ("baseline_days", 0),
        ("warmup_minutes", 29 * 1440),
        ("alpha", 0.0),
        ("alpha", float("nan")),
        ("resolve_alpha", 0.001),
        ("min_negative", 0),
        ("min_sources", 0),
        ("min_ratio", 0.5),
        ("surge", 0.5),
        ("for_minutes", -1),
        ("keep_firing_minutes", -1),
        ("max_staleness_minutes", 0),
        ("repeat_minutes", -1),
        ("severity", "page"),
        ("receivers", ()),
        ("receivers", ("desk", "desk")),
    ],
)
def test_an_impossible_value_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(SettingsError, match=field):
        Rule(**{"name": "r", field: value})  # type: ignore[arg-type]


def test_a_baseline_shorter_than_three_windows_is_refused() -> None:
    with pytest.raises(SettingsError, match="three windows"):
        Rule(name="r", window_minutes=1440, baseline_days=2)


def test_two_rules_may_not_share_a_name() -> None:
    with pytest.raises(SettingsError, match="twice"):
        check_rules((Rule(name="r"), Rule(name="r")))
