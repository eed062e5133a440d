"""Settings of Kafka: topics by pattern, logins and what they need, secrets that change in their files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from sentiment_monitor.domain.logins import AwsIam, ClientCredentials
from sentiment_monitor.errors import SettingsError
from sentiment_monitor.settings import secrets
from sentiment_monitor.settings.feed import KafkaSettings
from sentiment_monitor.settings.load import load

OAUTH = {
    "security_protocol": "SASL_SSL",
    "sasl_mechanism": "OAUTHBEARER",
    "oauth_token_url": "https://login.example/token",
    "oauth_client_id": "newsroom",
    "oauth_client_secret": "correct-horse",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setattr(secrets, "SECRETS_DIR", folder)
    return folder


@pytest.mark.parametrize(
    ("pattern", "topic", "read"),
    [
        ("news-.*", "news-wire", True),
        ("news-.*", "old-news-wire", False),
        ("news-(a|b)", "news-ab", False),
        ("^news-[0-9]+$", "news-7", True),
    ],
)
def test_a_pattern_must_fit_the_whole_name_of_a_topic(pattern: str, topic: str, read: bool) -> None:
    kafka = load(kafka={"topic_pattern": pattern}).kafka
    assert kafka.reads(topic) is read
    assert kafka.chooses is not None
    assert kafka.chooses(topic) is read


def test_topics_by_name_are_read_by_name() -> None:
    kafka = load(kafka={"topics": "news.wire, rss"}).kafka
    assert [kafka.reads(topic) for topic in ("news.wire", "rss", "newsXwire")] == [True, True, False]
    assert kafka.chooses is None


def test_no_name_of_a_topic_makes_a_pattern_take_long() -> None:
    kafka = load(kafka={"topic_pattern": "(a+)+b"}).kafka
    began = time.process_time()
    assert not kafka.reads("a" * 249)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"topic_pattern": "news-("}, "'news-(' is no regular expression that takes bounded time (RE2): missing )"),
        ({"topic_pattern": "news-.*", "topics": "rss"}, "either topics or topic_pattern, not both"),
        (
            {**OAUTH, "oauth_token_url": "http://login.example"},
            "oauth_token_url: Value error, must begin with https://",
        ),
        ({**OAUTH, "oauth_client_id": None}, "sasl_mechanism OAUTHBEARER needs oauth_client_id"),
        (
            {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512"},
            "sasl_mechanism SCRAM-SHA-512 needs sasl_username",
        ),
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "AWS_MSK_IAM"}, "AWS_MSK_IAM needs aws_region"),
        (
            {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "AWS_MSK_IAM", "aws_region": "eu-central-1"},
            "AWS_MSK_IAM needs security_protocol SASL_SSL",
        ),
    ],
)
def test_what_cannot_work_is_said_at_the_start(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(kafka=given)
    assert said in str(raised.value)
    assert "horse" not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        (
            {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_username": "newsroom"},
            "kafka.sasl_password is not set: MONITOR_KAFKA__SASL_PASSWORD",
        ),
        ({**OAUTH, "oauth_client_secret": None}, "kafka.oauth_client_secret is not set"),
    ],
)
def test_a_file_may_be_looked_at_without_its_secrets_but_nobody_connects(given: dict[str, Any], missing: str) -> None:
    kafka = load(kafka=given).kafka
    with pytest.raises(SettingsError, match=missing):
        kafka.client_options()


def test_topics_named_on_the_command_line_win_over_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "monitor.toml").write_text('[kafka]\ntopic_pattern = "news-.*"\n')
    assert load(kafka={"topics": "rss", "topic_pattern": ""}).kafka.reads("rss")


def test_tokens_of_an_openid_provider() -> None:
    options = KafkaSettings(**OAUTH, oauth_scope="kafka.read").client_options()
    login = options["token_login"]
    assert isinstance(login, ClientCredentials)
    assert (login.token_url, login.client_id, login.scope) == ("https://login.example/token", "newsroom", "kafka.read")
    assert login.secret() == "correct-horse"
    assert options["sasl_mechanism"] == "OAUTHBEARER"
    assert "horse" not in repr(options)


def test_tokens_of_amazon() -> None:
    options = KafkaSettings(
        security_protocol="SASL_SSL", sasl_mechanism="AWS_MSK_IAM", aws_region="eu-central-1", aws_profile="news"
    ).client_options()
    assert options["token_login"] == AwsIam("eu-central-1", None, "news")
    assert options["sasl_mechanism"] == "OAUTHBEARER", "which is how Amazon takes them"


def test_a_secret_from_a_file_is_read_again_and_a_file_that_is_being_replaced_says_what_it_said(folder: Path) -> None:
    file = folder / "monitor_kafka__sasl_password"
    file.write_text("old-horse\n")
    given = {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_username": "newsroom"}
    password = load(kafka=given).kafka.client_options()["sasl_plain_password"]
    assert password() == "old-horse"
    file.write_text("new-horse\n")
    assert password() == "new-horse"
    file.write_text("")
    assert password() == "new-horse"
    file.unlink()
    assert password() == "new-horse"


def test_a_secret_that_comes_from_elsewhere_is_not_taken_from_a_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "monitor_kafka__sasl_password").write_text("of-the-file")
    monkeypatch.setenv("MONITOR_KAFKA__SASL_PASSWORD", "of-the-environment")
    given = {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_username": "newsroom"}
    assert load(kafka=given).kafka.client_options()["sasl_plain_password"] == "of-the-environment"
