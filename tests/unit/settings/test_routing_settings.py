"""Settings of who is told what: read into routes and wishes, and refused where they lead nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentiment_monitor.app.policy import watched
from sentiment_monitor.app.routing import routes_of
from sentiment_monitor.dispatch.routes import Escalation, Routes
from sentiment_monitor.errors import SettingsError
from sentiment_monitor.settings.load import load
from writing import alert

TWO = """
[[receivers]]
name = "desk"
notifiers = [{ type = "log" }]

[[receivers]]
name = "boss"
notifiers = [{ type = "log" }]
"""


def _routes(tmp_path: Path, text: str, groups: dict[str, list[str]] | None = None) -> Routes:
    file = tmp_path / "monitor.toml"
    file.write_text(text)
    settings = load(file)
    rules, tellings = watched(settings)
    return routes_of(settings, rules, tellings, groups or {})


def test_a_child_has_from_its_parent_what_it_leaves_unset(tmp_path: Path) -> None:
    routes = _routes(
        tmp_path,
        '[route]\nreceiver = "desk"\nrepeat_minutes = 60\ngroup_by = ["dimension"]\n'
        'escalate = [{ after_minutes = 30, receiver = "boss" }]\n'
        '[[route.routes]]\nmatchers = ["severity=critical"]\ncontinue = true\ngroup_wait_minutes = 2\n' + TWO,
    )
    (way,) = routes.ways(alert(rule="company-hour"))
    assert (way.receiver, way.repeat_minutes, way.group_by, way.group_wait_minutes) == ("desk", 60, ("dimension",), 2)
    assert (way.escalate, way.goes_on) == ((Escalation(30, "boss"),), True)


def test_without_a_tree_every_receiver_hears_of_the_built_in_rules(tmp_path: Path) -> None:
    ways = _routes(tmp_path, TWO).ways(alert(rule="company-day"))
    assert [way.receiver for way in ways] == ["desk", "boss"]


def test_a_receiver_of_a_group_hears_of_its_companies_and_of_the_group(tmp_path: Path) -> None:
    text = TWO + 'groups = ["Banks"]\ncompanies = ["xyz"]\nsources = ["Wire"]\n'
    wishes = _routes(tmp_path, text, {"banks": ["A", "B.*"]}).wishes_of("boss")
    heard = ("ticker:A", "ticker:B.*", "group:banks", "ticker:XYZ", "source:wire")
    assert all(wishes.include(alert(series=series)) for series in heard)
    assert not any(wishes.include(alert(series=series)) for series in ("ticker:B.X", "all", "group:oil"))
    assert _routes(tmp_path, TWO).wishes_of("boss").include(alert(series="all"))
    with pytest.raises(SettingsError, match="receiver boss: the watchlist has no group banks"):
        _routes(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[route]\nrepeat_minutes = 5\n", "route must name a receiver"),
        ('[route]\nreceiver = "desk"\nmatchers = ["severity=critical"]\n', "it takes every alert"),
        ('[route]\nreceiver = "nobody"\n', "receivers that do not exist: nobody"),
        ('[route]\nreceiver = "desk"\nescalate = [{ after_minutes = 5, receiver = "x" }]\n', "do not exist: x"),
        ('[route]\nreceiver = "desk"\nmute_time_intervals = ["nights"]\n', "time_intervals that do not exist"),
        ('[route]\nreceiver = "desk"\n[[route.routes]]\nmatchers = ["nonsense"]\n', "is no matcher"),
        ('[route]\nreceiver = "desk"\ngroup_by = ["ticker"]\n', "alerts have no label ticker"),
        ('[route]\nreceiver = "desk"\n[[route.routes]]\nmatchers = ["sector=banks"]\n', "alerts have no label sector"),
        (
            '[[inhibit_rules]]\nsource_matchers = ["severity=critical"]\ntarget_matchers = ["severity=info"]\n'
            'equal = ["series", "ticker"]\n',
            "alerts have no label ticker",
        ),
        (
            '[route]\nreceiver = "desk"\n[[rules]]\nname = "hourly"\nrepeat_minutes = 60\n',
            "repeated as the route says, not by their repeat_minutes: hourly",
        ),
        ('[[time_intervals]]\nname = "n"\ntimes = ["9-5"]\n', "one is written 09:00-17:30"),
        ('[[time_intervals]]\nname = "n"\nlocation = "Mars"\n', "is no time zone"),
    ],
)
def test_what_leads_nowhere_is_refused_with_its_name(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        _routes(tmp_path, text + TWO)


@pytest.mark.parametrize("line", ["digest_minutes = 7", 'briefings = ["24:00"]', 'briefings = ["8"]', 'location = "x"'])
def test_a_receiver_that_cannot_be_meant_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(SettingsError, match=r"receivers\.1"):
        _routes(tmp_path, TWO + line + "\n")
