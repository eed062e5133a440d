"""monitor notify: what it prints, in which order, and with which exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from databases import migrated_sqlite
from receiver import Answer, Receiver, receiver
from sentiment_monitor import cli
from sentiment_monitor.notify.signature import verify
from sentiment_monitor.store.alerts import Change
from sentiment_monitor.store.schema import audit
from sentiment_monitor.store.stops import Lane, Stop
from writing import Alerts, alert, event, notification

NOW = 1_678_468_860_000
Monitor = Callable[..., tuple[int, str, str]]


@pytest.fixture
def monitor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Monitor:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sentiment_monitor.telemetry.log.configure", lambda *args, **options: None)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["monitor", *arguments])
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def _settings(*urls: str) -> None:
    hooks = "".join(
        f'[[receivers.notifiers]]\ntype = "webhook"\nname = "hook-{n}"\nurl = "{url}"\nsecret = "s3cret"\n'
        for n, url in enumerate(urls)
    )
    Path("monitor.toml").write_text(
        f'[database]\nurl = "sqlite:///a.sqlite"\n[[receivers]]\nname = "desk"\n{hooks}'
        '[[receivers]]\nname = "night"\n[[receivers.notifiers]]\ntype = "log"\n'
    )


def _stopped(folder: Path) -> Alerts:
    """A database in which hook-0 of desk stands still: one notification waits, one was sent by hook-1."""
    store = Alerts(migrated_sqlite(folder / "a.sqlite"))
    lease = store.leases.acquire("test", NOW, 60_000)
    assert lease is not None
    told = [notification(receiver="desk", notifier=f"hook-{n}", key=f"key-{n}", title=f"title {n}") for n in (0, 1)]
    store.apply(lease, 1, [Change(alert(), event(minute=1), told)], NOW)
    stopped, sent = store.due(NOW)
    store.outbox.record_sent(sent.id, NOW + 1_000)
    store.outbox.stop(stopped.id, Stop(Lane("desk", "hook-0"), NOW, "https://hook.example answered 403", "a:b"))
    return store


def _test(monitor: Monitor, *answers: Answer) -> tuple[int, list[dict[str, object]], Receiver]:
    with receiver(*answers) as there:
        _settings(there.url)
        code, out, _ = monitor("notify", "test", "desk", "--json")
    return code, json.loads(out), there


def test_a_test_reaches_the_real_receiver_marked_and_signed(monitor: Monitor) -> None:
    code, (trial,), there = _test(monitor, Answer())
    assert (code, trial["notifier"], trial["type"], trial["outcome"]) == (0, "hook-0", "webhook", "taken")
    (seen,) = there.seen
    (sent,) = json.loads(seen.body)["alerts"]
    assert sent["labels"]["test"] == "true"
    assert sent["annotations"]["summary"] == "[TEST] sentiment-monitor reaches desk"
    signed_at = int(seen.headers["X-Monitor-Signature"].partition(",")[0].removeprefix("t="))
    assert verify("s3cret", seen.headers, seen.body, signed_at)


@pytest.mark.parametrize(("status", "code", "outcome"), [(503, 4, "later"), (400, 1, "rejected"), (403, 1, "refused")])
def test_the_exit_code_of_a_test_says_what_kind_of_failure_it_was(
    monitor: Monitor, status: int, code: int, outcome: str
) -> None:
    ended, (trial,), _ = _test(monitor, Answer(status))
    assert (ended, trial["outcome"]) == (code, outcome)
    assert trial["detail"]


def test_of_several_notifiers_each_says_what_happened_and_one_can_be_chosen(monitor: Monitor) -> None:
    with receiver(Answer(503)) as away, receiver() as there:
        _settings(away.url, there.url)
        code, out, _ = monitor("notify", "test", "desk")
        assert code == 4
        lines = [line.split()[:3] for line in out.splitlines()]
        assert lines[1:] == [["hook-0", "webhook", "later"], ["hook-1", "webhook", "taken"]]
        assert monitor("notify", "test", "desk", "--notifier", "hook-1")[0] == 0
        assert (len(away.seen), len(there.seen)) == (1, 2)


def test_a_receiver_that_is_not_in_the_settings_is_told_the_nearest(monitor: Monitor) -> None:
    _settings("http://127.0.0.1:9")
    code, _, err = monitor("notify", "test", "dsk")
    assert (code, err) == (2, "monitor: there is no receiver dsk; is desk meant?\n")
    code, _, err = monitor("notify", "test", "zzz")
    assert (code, err) == (2, "monitor: there is no receiver zzz; there are: desk, night\n")
    code, _, err = monitor("notify", "test", "desk", "--notifier", "pager")
    assert (code, err) == (2, "monitor: receiver desk has no notifier pager; it has: hook-0\n")


def test_the_list_shows_who_delivers_who_is_stopped_and_what_waits(monitor: Monitor, tmp_path: Path) -> None:
    _stopped(tmp_path).database.close()
    _settings("http://127.0.0.1:9")  # hook-1 has left the settings
    code, out, _ = monitor("notify", "list", "--json")
    rows = json.loads(out)
    assert code == 0
    assert [(row["receiver"], row["notifier"], row["state"], row["queued"], row["sent"]) for row in rows] == [
        ("desk", "hook-0", "stopped", 1, 0),
        ("night", "log", "delivers", 0, 0),
        ("desk", "hook-1", "gone", 0, 1),
    ]
    assert (rows[0]["stopped_since"], rows[0]["error"]) == ("2023-03-10T17:21:00Z", "https://hook.example answered 403")
    assert rows[2]["last_sent"] == "2023-03-10T17:21:01Z"
    shown = monitor("notify", "list")[1]
    assert "2023-03-10 17:21" in shown
    assert "https://hook.example answered 403" in shown


def test_the_log_shows_what_became_of_each_notification_newest_first(monitor: Monitor, tmp_path: Path) -> None:
    _stopped(tmp_path).database.close()
    _settings("http://127.0.0.1:9")
    rows = json.loads(monitor("notify", "log", "--json")[1])
    assert [(row["title"], row["state"], row["attempts"], row["sent"]) for row in rows] == [
        ("title 1", "sent", 1, "2023-03-10T17:21:01Z"),
        ("title 0", "queued", 1, None),
    ]
    (queued,) = json.loads(monitor("notify", "log", "--json", "--state", "queued", "--receiver", "desk")[1])
    assert (queued["key"], queued["error"]) == ("key-0", "https://hook.example answered 403")
    assert monitor("notify", "log", "--receiver", "night")[:2] == (0, "nothing was sent yet\n")


def test_resuming_is_audited_once_and_harmless_twice(monitor: Monitor, tmp_path: Path) -> None:
    store = _stopped(tmp_path)
    _settings("http://127.0.0.1:9")
    code, out, _ = monitor("notify", "resume", "desk", "--json")
    # The notification is of 2023, and nobody wants it any more.
    assert (code, json.loads(out)) == (0, [{"receiver": "desk", "notifier": "hook-0", "waiting": 0, "given_up": 1}])
    assert store.outbox.stops() == []
    assert monitor("notify", "resume", "desk")[:2] == (0, "nothing is stopped of receiver desk\n")
    with store.database.read() as connection:
        (row,) = connection.execute(select(audit)).mappings()
    assert (row["action"], row["subject"]) == ("notifier.resume", "notifier:desk/hook-0")
    assert json.loads(row["detail"]) == {"waiting": 0, "given_up": 1}
    code, _, err = monitor("notify", "resume", "desk", "--notifier", "pager")
    assert (code, err) == (2, "monitor: there is no notifier pager of receiver desk; see monitor notify list\n")
    store.database.close()
