"""monitor alerts explain, and what monitor alerts show adds of similar alerts, as people read them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len
from sqlalchemy import insert

from databases import migrated_sqlite
from sentiment_monitor import cli
from sentiment_monitor.domain.alert_states import Kind, State
from sentiment_monitor.domain.alerts import Evidence, TopStory
from sentiment_monitor.domain.similar import Traits
from sentiment_monitor.store import similar
from sentiment_monitor.store.alerts import Change
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.schema import acknowledgements, closings, comments
from sentiment_monitor.times import DAY_MINUTES, MINUTE_MS
from writing import Alerts, Desk, alert, event, notification, scored

MINUTE = 27_974_481  # 2023-03-10 17:21
NOW = MINUTE * MINUTE_MS
LINK = "https://news.example/" + "a-long-address/" * 6
PUBLISHED = "2023-03-10T17:11:00Z"
Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs monitor alerts on the database in a terminal of so many columns; returns what it prints."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, columns: int = 60) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys, "argv", ["monitor", "alerts", *arguments, "--database", "sqlite:///monitor.sqlite"])
        capsys.readouterr()
        try:
            cli.main()
        except SystemExit as end:
            if end.code:
                raise AssertionError(capsys.readouterr().err) from end
        return capsys.readouterr().out

    return run


@pytest.fixture(autouse=True)
def alerts(tmp_path: Path) -> None:
    """An alert of last week that somebody dismissed, and one that fires."""
    database = migrated_sqlite(tmp_path / "monitor.sqlite")
    Desk(database).write(
        *(scored(str(n), minute=MINUTE - n, label="negative", tickers=("KSB",)) for n in range(1, 5)),
        scored("then", minute=MINUTE - 300, label="neutral", tickers=("KSB",)),
    )
    store = Alerts(database)
    lease = store.leases.acquire("me", NOW, 1_000)
    assert lease is not None
    told = (
        TopStory("1", "宏达银行暂停提款,储户排队等候" * 4, "wire", LINK, PUBLISHED, 0.93, copies=12),
        TopStory("2", "Queues outside \x1b[31mKestrel [b]branches", "ledger", "", PUBLISHED, 0.9),
    )
    sentence = "4 of 4 stories in 1 h are negative, where hardly any is usual"
    evidence = Evidence(sentence, told, ("ledger", "wire"), copies=12, window_minutes=60)
    week = 7 * DAY_MINUTES
    before = alert(
        series="ticker:OAK", title="Oakmere (OAK): 5 negative stories in 1 h", pending_minute=MINUTE - week,
        fired_minute=MINUTE - week, resolved_minute=MINUTE - week + 90, state=State.RESOLVED,
    )  # fmt: skip
    firing = alert(
        series="ticker:KSB", title="Kestrel (KSB): 4 negative stories in 1 h", pending_minute=MINUTE,
        fired_minute=MINUTE,
    )  # fmt: skip
    old = Evidence(top_stories=(TopStory("9", "Oakmere halts withdrawals", "wire", "", PUBLISHED, 0.9),))
    store.apply(lease, MINUTE, [Change(before, event(minute=MINUTE - week, evidence=old))], NOW)
    fired = event(minute=MINUTE, observed=4.0, volume=4.0, expected=0.05, evidence=evidence)
    note = notification(receiver="desk", notifier="mail", title="Kestrel (KSB): 4 negative stories")
    store.apply(lease, MINUTE, [Change(firing, fired, [note])], NOW)
    with database.write() as connection:
        for number, vector in ((1, (1, 0)), (2, (0.95, np.sqrt(1 - 0.95**2)))):
            kept = np.array(vector, np.float32)
            similar.keep_vector(connection, "net@1", number, kept, Traits(topics=("credit",)), NOW)
        said = {"at_ms": NOW, "minute": MINUTE, "actor": "ann"}
        connection.execute(
            insert(closings).values(alert_id=1, verdict="dismissed", reason="a namesake in Ohio", **said)
        )
        connection.execute(insert(comments).values(alert_id=1, at_ms=NOW, author="bo", text="told treasury"))
        connection.execute(insert(acknowledgements).values(alert_id=2, owner="bo", note="on it", **said))
    database.close()


def test_an_explanation_is_one_page_from_the_sentence_to_the_similar_alert(run: Run) -> None:
    page = run("explain", "2")
    order = [
        "Kestrel (KSB): 4 negative stories in 1 h",
        "Why: 4 of 4 stories in 1 h are negative",
        "Negative stories (#) in each 1 h",
        "  2023-03-10 16:21  |#####################   4 of 4  < fired",
        "  fired 2023-03-10 17:21                4     4    <0.1",
        "The most telling stories it fired on",
        LINK,
        "12 copies in these 1 h",
        "The first bad one",
        "Sources (2): ledger, wire",
        "2023-03-10 17:21  fired (spike burst)",
        "acknowledged for bo by ann: on it",
        "desk by mail, queued: Kestrel (KSB)",
        "Similar earlier alerts",
        "Oakmere (OAK): 5 negative",
        "alike: the same topic (credit), worded alike (0.95)",
        '"Oakmere halts withdrawals"',
        "became: dismissed as false by ann after 1 h 30 min: a",
        "commented by bo: told treasury",
    ]
    assert [part for part in order if part not in page] == []
    places = [page.index(part) for part in order]
    assert places == sorted(places)


def test_it_fits_sixty_columns_but_for_links_and_nothing_from_outside_moves_a_terminal(run: Run) -> None:
    page = run("explain", "2") + run("show", "2").partition("Similar earlier alerts")[2]
    assert "\x1b" not in page
    assert [line for line in page.splitlines() if LINK not in line and cell_len(line) > 60] == []
    assert "[b]branches" in page


def test_its_own_marks_are_letters_that_every_terminal_has(run: Run) -> None:
    page = run("explain", "1")
    assert page.isascii()


def test_machines_get_every_step_and_the_similar_alerts(run: Run) -> None:
    explained = json.loads(run("explain", "2", "--json"))
    assert explained["sentence"].startswith("4 of 4 stories")
    assert [(step["negative"], step["stories"]) for step in explained["steps"]] == [(0, 0)] * 3 + [(0, 1)] + [
        (0, 0)
    ] * 3 + [(4, 4)]
    assert explained["steps"][-1]["expected"] == 0.05
    assert explained["now"]["at"] == "2023-03-10T16:21:00Z"
    assert explained["first_story"]["source"] == "wire"
    shown = json.loads(run("show", "2", "--json"))
    assert shown["similar"] == explained["similar"]
    (earlier,) = shown["similar"]
    assert (earlier["id"], earlier["cosine"], earlier["likeness"]) == (1, 0.95, 1.0)
    assert earlier["outcome"] == "dismissed as false by ann after 1 h 30 min: a namesake in Ohio"
    assert [saying["deed"] for saying in earlier["people"]] == ["commented", "dismissed"]
    assert explained["events"] == shown["events"]


def test_an_alert_without_likes_says_nothing_of_them(run: Run) -> None:
    assert "Similar" not in run("explain", "1")
    assert "Similar" not in run("show", "1")
    assert "Similar earlier alerts" in run("show", "2")


def test_one_that_is_over_shows_how_it_was_at_its_end(run: Run, tmp_path: Path) -> None:
    store = Alerts(Database(f"sqlite:///{tmp_path / 'monitor.sqlite'}"))
    lease = store.leases.acquire("me", NOW, 1_000)
    assert lease is not None
    (open_alert,) = store.open()
    end = event(
        minute=MINUTE + 20, transition=Kind.RESOLVED, reason="recovered", observed=0.0, volume=1.0, expected=2.5
    )
    store.apply(lease, MINUTE + 20, [Change(open_alert, end)], NOW)
    store.database.close()
    page = run("explain", "2")
    assert "  resolved 2023-03-10 17:41             0     1     2.5" in page
    assert "resolved (recovered)" in page


def test_an_alert_that_is_not_there_is_named(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AssertionError, match="there is no alert 7; see monitor alerts list"):
        run("explain", "7")
