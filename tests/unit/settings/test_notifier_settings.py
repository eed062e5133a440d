"""Settings of notifiers: what is refused, and that no secret is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from receiver import Answer, notification, receiver
from sentiment_monitor.app.policy import Policy
from sentiment_monitor.app.trial import try_receiver
from sentiment_monitor.errors import SettingsError
from sentiment_monitor.settings.load import load
from sentiment_monitor.settings.secrets import given

MAIL = {"type": "smtp", "host": "mail.bank.example", "sender": "m@bank.example", "to": ["desk@bank.example"]}


def _receivers(*notifiers: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": "desk", "notifiers": list(notifiers)}]


def test_every_kind_of_notifier_can_be_made_and_shows_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("https://chat.example/FILESECRET\n")
    url = "https://chat.example/SECRET"
    settings = load(
        isolated=True,
        receivers=_receivers(
            {**MAIL, "username": "m", "password": "SECRET", "language": "zh"},
            {"type": "webhook", "url": url, "token_file": str(file), "secret": "SECRET"},
            {"type": "slack", "url": url},
            {"type": "dingtalk", "url": url, "secret": "SECRET"},
            {"type": "wecom", "url_file": str(file)},
            {"type": "feishu", "url": url, "secret_file": str(file)},
            {"type": "kafka", "topic": "alerts"},
            {"type": "log"},
        ),
    )
    policy = Policy.of(settings)
    try:
        shown = settings.model_dump_json() + repr(settings) + repr(policy.receivers)
        assert "SECRET" not in shown
        assert list(policy.receivers["desk"]) == [
            *("smtp", "webhook", "slack", "dingtalk", "wecom", "feishu", "kafka", "log"),
        ]
        assert all(len(notifier.access()) > 0 for name, notifier in policy.receivers["desk"].items() if name != "log")
    finally:
        policy.close()


def test_a_notifier_speaks_its_receivers_language_unless_it_has_one_of_its_own() -> None:
    with receiver(Answer(body=b'{"errcode": 0}')) as chat:
        robots = [
            {"type": "wecom", "name": "usual", "url": f"{chat.url}/usual"},
            {"type": "wecom", "name": "other", "url": f"{chat.url}/other", "language": "en"},
        ]
        settings = load(
            isolated=True,
            receivers=[
                {"name": "desk", "notifiers": robots},
                {"name": "pek", "language": "zh", "notifiers": robots},
            ],
        )
        policy = Policy.of(settings)
        try:
            for name in ("desk", "pek"):
                for notifier in policy.receivers[name].values():
                    notifier.send(notification(), 0)
            sent = [json.loads(seen.body)["markdown"]["content"] for seen in chat.seen]
        finally:
            policy.close()
    assert ["负面新闻" in text for text in sent] == [False, False, True, False]


def test_a_test_of_a_receiver_speaks_its_language_too() -> None:
    with receiver(Answer(body=b'{"errcode": 0}')) as chat:
        robot = {"type": "wecom", "url": f"{chat.url}/send"}
        settings = load(isolated=True, receivers=[{"name": "pek", "language": "zh", "notifiers": [robot]}])
        (outcome,) = try_receiver(settings, "pek", None, 0)
        assert outcome.outcome == "taken"
        assert "没有发生任何事情" in json.loads(chat.seen[0].body)["markdown"]["content"]


@pytest.mark.parametrize(
    ("notifier", "said"),
    [
        ({**MAIL, "password": "x"}, "username and password (or password_file) go together"),
        ({**MAIL, "username": "x"}, "username and password (or password_file) go together"),
        ({**MAIL, "username": "x", "password": "x", "password_file": "x"}, "password and password_file cannot both"),
        ({**MAIL, "username": "x", "password": "x", "security": "none"}, "would send the password in the clear"),
        ({**MAIL, "to": ["desk"]}, "'desk' is no address"),
        ({**MAIL, "to": ["a@b.example\nBcc: c@d.example"]}, "is no address"),
        ({**MAIL, "sender": "Monitor <m@bank.example>"}, "should match pattern"),
        ({"type": "slack"}, "url or url_file must be set"),
        ({"type": "wecom", "url": "https://x.example", "secret": "x"}, "there is no such setting"),
        ({"type": "kafka", "topic": "a b"}, "should match pattern"),
        ({"type": "kafka", "topic": ".."}, "is no name of a topic"),
        ({"type": "feishu", "url": "https://x.example", "language": "de"}, "should be 'en' or 'zh'"),
    ],
)
def test_what_cannot_work_is_said(notifier: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(isolated=True, receivers=_receivers(notifier))
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("notifier", "said"),
    [
        (
            {"type": "slack", "url": "chat.example/SECRET"},
            "receiver desk, notifier slack: the address of a slack",
        ),
        ({"type": "slack", "url_file": "/absent"}, "/absent cannot be read, or is empty"),
        ({**MAIL, "cafile": "/absent.pem"}, "cafile /absent.pem"),
        ({**MAIL, "template": "/absent.j2"}, "template /absent.j2: cannot be read"),
    ],
)
def test_what_lies_in_files_is_looked_at_before_the_service_starts(notifier: dict[str, Any], said: str) -> None:
    settings = load(isolated=True, receivers=_receivers(notifier))
    with pytest.raises(SettingsError) as raised:
        Policy.of(settings)
    assert said in str(raised.value)
    assert "SECRET" not in str(raised.value)


def test_a_secret_in_a_file_is_read_anew_and_an_empty_file_says_what_it_said(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("old\n")
    secret = given(None, file)
    assert callable(secret)
    assert secret() == "old"
    file.write_text("new\n")
    assert secret() == "new"
    file.write_text("")
    assert secret() == "new"
    file.unlink()
    assert secret() == "new"
    assert given(None, None) == ""
