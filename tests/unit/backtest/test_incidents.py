"""How alerts are held against known incidents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from history import START, columns_of, crisis
from sentiment_monitor.backtest.incidents import Incident, Page, incident_of, mark, read_incidents
from sentiment_monitor.errors import UsageError
from sentiment_monitor.times import DAY_MINUTES

LAST = START + 10 * DAY_MINUTES
ACME = Incident("Acme", ("ticker:A",), START + 100, START + 200)
BANK = Incident("banks", ("ticker:B*", "topic:credit"), START + 3_000, START + 4_000)


def test_recall_lead_and_other_alerts_are_counted() -> None:
    columns = columns_of([*crisis("A", 100, every=10), *crisis("B", 3_000, stories=3, every=10)])
    pages = [
        Page("ticker:A", START + 120),
        Page("ticker:A", START + 150),  # of the same incident: neither another alert nor a better lead
        Page("ticker:A", START + 201),  # too late to be about it
        Page("ticker:C", START + 150),
    ]
    marks = mark(pages, (ACME, BANK), columns, START, LAST - 1)
    assert [(meeting.fired_minute, meeting.lead_minutes) for meeting in marks.meetings] == [
        (START + 120, 20),  # its fifth story came at 140
        (None, None),
    ]
    assert (marks.recall, marks.median_lead_minutes) == (0.5, 20.0)
    assert marks.others == 2
    assert marks.others_a_day == pytest.approx(0.2)


def test_an_alert_after_the_fifth_story_has_a_negative_lead_and_three_stories_have_a_last_instead() -> None:
    columns = columns_of([*crisis("B", 3_000, stories=3, every=10)])
    (meeting,) = mark([Page("ticker:BX", START + 3_500)], [BANK], columns, START, LAST).meetings
    assert meeting.lead_minutes == 3_020 - 3_500


def test_an_incident_outside_the_time_is_not_missed_and_no_incident_means_no_recall() -> None:
    columns = columns_of(crisis("A", 100))
    marks = mark([Page("ticker:A", START + 150)], [ACME], columns, START + 1_000, LAST)
    assert (marks.meetings, marks.recall, marks.median_lead_minutes) == ((), None, None)


def test_a_page_is_about_the_incident_whose_series_and_time_it_has() -> None:
    assert incident_of(Page("topic:credit", START + 3_000), (ACME, BANK)) is BANK
    assert incident_of(Page("topic:credit", START + 150), (ACME, BANK)) is None


def test_incidents_are_read_with_several_series_and_zones(tmp_path: Path) -> None:
    file = tmp_path / "incidents.json"
    file.write_text(
        json.dumps(
            [
                {"name": "Acme", "series": "ticker:A", "from": "2023-03-10", "to": "2023-03-10T01:00+01:00"},
                {"name": "B", "series": ["ticker:B", "all"], "from": "2023-03-10T00:05Z", "to": "2023-03-11"},
            ]
        )
    )
    assert read_incidents(file) == (
        Incident("Acme", ("ticker:A",), START, START),
        Incident("B", ("ticker:B", "all"), START + 5, START + DAY_MINUTES),
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not JSON"),
        ("{}", "must hold a list"),
        ("[1]", "incident 1: must be an object"),
        ('[{"name": "x", "series": "all", "from": "2023-03-10"}]', "incident 1: has no to"),
        ('[{"name": "x", "series": "all", "from": "soon", "to": "2023-03-10"}]', "from soon: write a time"),
        ('[{"name": "x", "series": "all", "from": "2023-03-11", "to": "2023-03-10"}]', "ends before it begins"),
    ],
)
def test_what_is_wrong_with_a_file_of_incidents_is_said(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "incidents.json"
    file.write_text(content)
    with pytest.raises(UsageError, match=said):
        read_incidents(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_incidents(tmp_path / "none.json")
