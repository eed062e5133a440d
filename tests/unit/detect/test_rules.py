from __future__ import annotations

from dataclasses import fields, replace

import pytest
from pydantic import ValidationError

from sentiment_monitor.detect.rules import DEFAULT_RULES, CountRule, Rule

HOUR = next(rule for rule in DEFAULT_RULES if isinstance(rule, CountRule))


def test_default_rules_are_valid_and_named_apart() -> None:
    assert len({rule.name for rule in DEFAULT_RULES}) == len(DEFAULT_RULES)
    assert {rule.window_minutes for rule in DEFAULT_RULES if rule.dimensions == ("ticker",)} == {60, 1440}


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
        ("kind", "cusum"),
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
        ("severity", "page"),
        ("receivers", ("desk",)),
    ],
)
def test_an_impossible_value_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        CountRule(**{"name": "r", field: value})  # type: ignore[arg-type]


def test_a_changed_rule_is_checked_again() -> None:
    with pytest.raises(ValidationError, match="alpha"):
        replace(HOUR, alpha=0.9)
    assert replace(HOUR, alpha=0.1).alpha == 0.1


def test_who_is_told_is_no_part_of_a_rule() -> None:
    assert {field.name for field in fields(CountRule)}.isdisjoint({"receivers", "repeat_minutes"})


def test_a_baseline_shorter_than_three_windows_is_refused() -> None:
    with pytest.raises(ValidationError, match="three windows"):
        Rule(name="r", window_minutes=1440, baseline_days=2)
