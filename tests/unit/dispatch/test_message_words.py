"""What a message says: its text, and the payload that programs and templates read."""

from __future__ import annotations

from sentiment_monitor.dispatch.cases import Message, Part
from sentiment_monitor.dispatch.compose import Account, compose
from sentiment_monitor.domain.alerts import Alert, Evaluation, Evidence, Notification
from sentiment_monitor.domain.hearing import Cause
from sentiment_monitor.domain.payload import decode
from writing import alert


def _account(told: Alert, name: str) -> Account:
    evaluation = Evaluation(
        told.series,
        told.rule,
        5.0,
        9.0,
        3,
        99,
        0.5,
        0.1,
        10.0,
        1e-6,
        1e-5,
        beyond=True,
        holds=True,
        reason="spike_mood",
    )
    return Account(told, "beyond", 120, evaluation, Evidence(), 60, f"{told.series} in short", "What: much.", name)


def _composed(causes: dict[Alert, Cause], most_a_day: int = 0) -> Notification:
    message = Message(
        "desk", ("log",), tuple(Part(told, cause) for told, cause in causes.items()), most_a_day=most_a_day
    )
    names = {"ticker:A": "Alder Bank"}
    accounts = {told: _account(told, names.get(told.series, "")) for told in causes}
    (notification,) = compose(message, accounts, "https://monitor.example", 120)
    return notification


def test_a_day_that_is_used_up_is_said_at_the_end_and_in_the_payload() -> None:
    causes = {alert(): Cause.FIRED, alert(series="topic:credit"): Cause.FIRED}
    last = _composed(causes, most_a_day=2)
    assert last.text.split("\n\n")[-1].startswith("With this message 2 alerts have been told within 24 h")
    assert [told.sentiment.most_a_day_reached for told in decode(last.body).alerts] == [2, 2]
    assert "With this message 1 alert has been told" in _composed({alert(): Cause.FIRED}, most_a_day=1).text
    usual = _composed(causes)
    assert "24 h" not in usual.text
    assert [told.sentiment.most_a_day_reached for told in decode(usual.body).alerts] == [0, 0]


def test_the_payload_has_the_name_that_people_use() -> None:
    told = decode(_composed({alert(): Cause.FIRED, alert(series="topic:credit"): Cause.FIRED}).body).alerts
    assert [kept.sentiment.name for kept in told] == ["Alder Bank", ""]
    assert "Alder Bank" not in str([kept.labels for kept in told])


def test_why_each_alert_is_told_now_stands_before_its_own_words() -> None:
    said = {
        alert(series="ticker:B"): (Cause.LATE, "It has been firing since 1970-01-01 01:40 UTC; until now it was held"),
        alert(series="ticker:C"): (Cause.WORSENED, "Graver than what you have been told: now critical."),
        alert(series="ticker:D"): (Cause.ESCALATED, "It has been firing since 1970-01-01 01:40 UTC, and nobody has"),
        alert(series="ticker:E"): (Cause.NAMED, "Nothing new; listed because it belongs to the same group."),
        alert(series="ticker:F"): (Cause.FIRED, "What: much."),
    }
    sections = _composed({told: cause for told, (cause, _) in said.items()}).text.split("\n\n")
    for section, (told, (_, words)) in zip(sections, said.items(), strict=True):
        lines = section.removeprefix(f"{told.series} in short\n").splitlines()
        assert lines[0].startswith(words)
        assert lines[-1] == "What: much."
