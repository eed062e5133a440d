"""One settings tree: where a value comes from, what is refused, and that secrets never show."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from sentiment_monitor.app.policy import watched
from sentiment_monitor.detect.rules import CountRule, CusumRule, SilenceRule
from sentiment_monitor.domain.alerts import Telling
from sentiment_monitor.errors import SettingsError
from sentiment_monitor.settings import secrets
from sentiment_monitor.settings.feed import KafkaSettings
from sentiment_monitor.settings.load import Settings, load
from sentiment_monitor.settings.service import WebSettings


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("MONITOR_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(secrets, "SECRETS_DIR", tmp_path / "secrets")


def _toml(folder: Path, text: str, name: str = "some.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def _problems(path: Path | None = None, **overrides: Any) -> str:
    with pytest.raises(SettingsError) as raised:
        load(path, **overrides)
    return str(raised.value)


# -- where a value comes from -----------------------------------------------------------------------


def test_without_anything_the_defaults_work() -> None:
    found = load()
    assert found.kafka.topics == ["news"]
    assert found.rules is None
    assert [receiver.name for receiver in found.receivers] == ["default"]
    assert watched(found)[0]


def test_the_command_line_wins_over_the_environment_over_secrets_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _toml(
        tmp_path, '[kafka]\ngroup = "file"\nsasl_username = "file"\nsasl_password = "file"\nstart = "latest"\n'
    )
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name in ("group", "sasl_username", "sasl_password"):
        (secrets / f"monitor_kafka__{name}").write_text("secret\n")
    monkeypatch.setenv("MONITOR_KAFKA__GROUP", "environment")
    monkeypatch.setenv("MONITOR_KAFKA__SASL_USERNAME", "environment")
    kafka = load(path, kafka={"group": "command"}).kafka
    assert kafka.sasl_password is not None
    assert (kafka.group, kafka.sasl_username, kafka.sasl_password.get_secret_value(), kafka.start) == (
        "command", "environment", "secret", "latest",
    )  # fmt: skip


def test_a_secret_file_is_enough_for_a_nested_setting(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "monitor_database__url").write_text("postgresql://u:hunter2@h/d\n")
    assert load().database.url.get_secret_value() == "postgresql://u:hunter2@h/d"


def test_isolated_settings_are_those_given_and_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _toml(tmp_path, '[kafka]\ngroup = "file"\n', "monitor.toml")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "monitor_kafka__sasl_username").write_text("secret\n")
    monkeypatch.setenv("MONITOR_KAFKA__TOPICS", "environment")
    monkeypatch.setenv("MONITOR_BOGUS", "1")
    found = load(isolated=True, web={"port": 1})
    assert found.model_dump() == Settings.model_construct(web=WebSettings(port=1)).model_dump()


def test_the_file_is_named_by_the_variable_or_lies_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _toml(tmp_path, '[kafka]\ngroup = "here"\n', "monitor.toml")
    assert load().kafka.group == "here"
    monkeypatch.setenv("MONITOR_CONFIG", str(_toml(tmp_path, '[kafka]\ngroup = "named"\n')))
    assert load().kafka.group == "named"
    monkeypatch.setenv("MONITOR_CONFIG", str(tmp_path / "none.toml"))
    assert "none.toml does not exist" in _problems()


@pytest.mark.parametrize("value", ["a:1,b:2", " a:1 , b:2 ,", '["a:1", "b:2"]'])
def test_lists_in_the_environment_may_be_json_or_comma_separated(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONITOR_KAFKA__BOOTSTRAP_SERVERS", value)
    assert load().kafka.bootstrap_servers == ["a:1", "b:2"]


def test_a_part_of_a_table_leaves_the_other_defaults_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONITOR_DETECT__LEASE_SECONDS", "90")
    found = load(detect={"tick_offset_seconds": 1}).detect
    assert (found.lease_seconds, found.tick_offset_seconds, found.give_up_hours) == (90, 1, 24)


# -- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[kafka]\nbootstrap_server = 1\n",
            "kafka.bootstrap_server: there is no such setting; is bootstrap_servers meant?",
        ),
        ("[kafak]\n", "kafak: there is no such setting; is kafka meant?"),
        ("[news]\ntimezone = 'UTC'\n", "news.timezone: there is no such setting; is time_zone meant?"),
        (
            '[[receivers]]\nname = "x"\nnotifiers = [{type = "webhook", url = "http://a.example", timeout = 1}]\n',
            "receivers.0.notifiers.0.webhook.timeout: there is no such setting; is timeout_seconds meant?",
        ),
        (
            '[[receivers]]\nname = "x"\nnotifier = []\n',
            "receivers.0.notifier: there is no such setting; is notifiers meant?",
        ),
        (
            '[[rules]]\nname = "x"\nwindow_minute = 5\n',
            "rules.0.window_minute: Value error, rule 'x': there is no such setting; is window_minutes meant?",
        ),
        ("[kafka]\nqqqqqq = 1\n", "kafka.qqqqqq: there is no such setting\n"),
    ],
)
def test_a_misspelt_setting_is_told_the_nearest(tmp_path: Path, text: str, said: str) -> None:
    assert said in _problems(_toml(tmp_path, text)) + "\n"


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("MONITOR_KAFKA__TOPIC", "kafka.topic: there is no such setting; is topics meant?"),
        ("MONITOR_KAFAK__TOPICS", "MONITOR_KAFAK__TOPICS: no such setting; is MONITOR_KAFKA__TOPICS meant?"),
    ],
)
def test_a_misspelt_variable_is_told_the_nearest(monkeypatch: pytest.MonkeyPatch, variable: str, said: str) -> None:
    monkeypatch.setenv(variable, "news")
    assert said in _problems()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'time_zone = "America/NewYork"',
            "news.time_zone: Value error, 'America/NewYork' is no time zone; is America/New_York",
        ),
        ('time_zone = "utc"', "'utc' is no time zone; is Etc/UTC meant?"),
        ('time_zone = "EST5EDT6"', "'EST5EDT6' is no time zone; is EST5EDT meant?"),
        ('time_zone = "../../../etc/passwd"', "is no time zone"),
        ('time_zone = "America"', "is no time zone"),
        ('[news.time_zones]\n"norwick wire" = "Tokyo"', "'Tokyo' is no time zone; is Asia/Tokyo meant?"),
        ('date_order = "american"', "'day_first' or 'month_first'"),
    ],
)
def test_a_zone_that_is_none_is_refused(tmp_path: Path, text: str, said: str) -> None:
    assert said in _problems(_toml(tmp_path, f"[news]\n{text}\n"))


def test_zones_are_those_of_the_feed_and_of_single_sources(tmp_path: Path) -> None:
    news = load(
        _toml(tmp_path, '[news]\ntime_zone = "America/New_York"\n[news.time_zones]\n"a b" = "Asia/Tokyo"\n')
    ).news
    options = news.decoder_options()
    assert (options["time_zone"], options["time_zones"]) == ("America/New_York", {"a b": "Asia/Tokyo"})


def test_each_problem_is_one_line_that_names_its_setting(tmp_path: Path) -> None:
    said = _problems(
        _toml(
            tmp_path,
            'colour = "red"\n[kafka]\nsession_timeout_ms = "long"\nbogus = 1\ntopics = []\n'
            '[detect]\ntick_offset_seconds = 60\n[[receivers]]\nname = "a b"\nnotifiers = [{type = "pigeon"}]\n',
        )
    ).splitlines()
    assert "some.toml" in said[0]
    problems = {line.strip().split(":")[0] for line in said[1:]}
    assert problems == {
        "colour", "kafka.session_timeout_ms", "kafka.bogus", "kafka.topics", "detect.tick_offset_seconds",
        "receivers.0.name", "receivers.0.notifiers.0",
    }  # fmt: skip
    assert len(said) == 1 + len(problems)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not toml", "not valid TOML"),
        ("kafka = 5\n", "kafka: Input should be"),
        ('external_url = "http://[bad"\n', "external_url: "),
        ('external_url = "desk.example"\n', "external_url: "),
        ('[[rules]]\nname = "x"\nreceivers = ["default"]\nbogus = 1\n', "rules.0.bogus"),
        (
            '[[rules]]\nname = "x"\nreceivers = ["default"]\nalpha = 3.0\n',
            "rules.0.alpha: Value error, rule 'x': Input should be less than 0.5",
        ),
        ('[[rules]]\nname = "x"\nreceivers = ["nobody"]\n', "do not exist: nobody"),
        ('[[rules]]\nname = "x"\nreceivers = ["default"]\n' * 2, "two rules are named x"),
        ('[[receivers]]\nname = "x"\nnotifiers = [{type = "log"}]\n' * 2, "two receivers are named x"),
        ('[[receivers]]\nname = "x"\nnotifiers = []\n', "receivers.0.notifiers"),
        ('[[receivers]]\nname = "x"\nnotifiers = [{type = "webhook", url = "nope"}]\n', "valid URL"),
        (
            '[[receivers]]\nname = "x"\nnotifiers = [{type = "log", name = "a"}, {type = "log", name = "a"}]\n',
            "receivers.0.notifiers: Value error, two notifiers are named a",
        ),
        ('[[receivers]]\nname = "x"\nnotifiers = [{type = "log", name = "#1"}]\n', "receivers.0.notifiers.0.log.name"),
        ("[kafka]\nsession_timeout_ms = 3000\n", "heartbeat_interval_ms (3000) must be shorter"),
        ('[kafka]\ntopics = ["a b/c"]\n', "is no topic name"),
        ('[kafka]\nsecurity_protocol = "SASL_SSL"\n', "security_protocol SASL_SSL needs sasl_mechanism"),
        ('[kafka]\nsasl_mechanism = "PLAIN"\n', "sasl_mechanism PLAIN needs security_protocol SASL_SSL"),
        ('[kafka]\nbootstrap_servers = ["localhost:notaport"]\n', "is not host:port"),
        ("[news]\ncopy_window_hours = 999999999999999999\n", "news.copy_window_hours"),
        ("[detect]\ndelivery_seconds = inf\n", "detect.delivery_seconds"),
        ("[detect]\nlease_seconds = 99999999999999999999999\n", "detect.lease_seconds"),
        ("[dead_letters]\nwindow = 99999999999999999999\n", "dead_letters.window"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_start(tmp_path: Path, text: str, said: str) -> None:
    assert said in _problems(_toml(tmp_path, text))


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes("# Börse".encode("latin-1"))
    assert "a.toml" in _problems(path)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MONITOR_KAFKA__TOPCS", "news", "kafka.topcs"),
        ("MONITOR_KAFKA", "{not json", "settings are wrong in the environment"),
        ("MONITOR_KAFKA__TOPICS", "[not json", "kafka.topics"),
        ("MONITOR_RULES", "company-hour", "settings are wrong in the environment"),
        ("MONITOR_DETECT__GIVE_UP_HOURS", "soon", "detect.give_up_hours"),
    ],
)
def test_a_wrong_variable_is_a_settings_error_and_not_a_traceback(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert said in _problems()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MONITOR_KAFKAS__TOPICS", "MONITOR_KAFKA__TOPICS"),
        ("MONITOR_KAFKA_GROUP", "MONITOR_KAFKA__GROUP"),
        ("monitor_databse__url", "MONITOR_DATABASE__URL"),
        ("MONITOR_EXTERNALURL", "MONITOR_EXTERNAL_URL"),
        ("MONITOR_XYZZY", None),
    ],
)
def test_a_variable_that_names_no_setting_is_refused_with_the_nearest_that_does(
    name: str, meant: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "hunter2")
    said = _problems()
    assert f"{name}: no such setting" in said
    assert said.endswith(f"; is {meant} meant?" if meant else "no such setting")
    assert "hunter2" not in said


@pytest.mark.parametrize(
    "name",
    [
        "MONITOR_VENV", "MONITOR_SERVICE_HOST", "MONITOR_SERVICE_PORT", "MONITOR_SERVICE_PORT_HTTP", "MONITOR_PORT",
        "MONITOR_WEB_PORT_8080_TCP_ADDR", "MONITORING", "monitor_kafka__group",
    ],
)  # fmt: skip
def test_variables_of_the_launcher_and_of_kubernetes_are_none_of_ours(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "x")
    assert load()


# -- secrets ----------------------------------------------------------------------------------------

SECRET = "hunter2"
WITH_SECRETS = f"""
[kafka]
security_protocol = "SASL_SSL"
sasl_mechanism = "SCRAM-SHA-512"
sasl_username = "u"
sasl_password = "{SECRET}"
ssl_password = "{SECRET}"
[database]
url = "postgresql://u:{SECRET}@h/d"
[[receivers]]
name = "desk"
notifiers = [
  {{type = "webhook", url = "https://u:{SECRET}@h/{SECRET}", secret = "{SECRET}", token = "{SECRET}"}},
  {{type = "apprise", url = "slack://{SECRET}"}},
]
"""


def test_secrets_are_in_no_text_form_of_the_settings(tmp_path: Path) -> None:
    found = load(_toml(tmp_path, WITH_SECRETS))
    for text in (repr(found), str(found), found.model_dump_json(), str(found.model_dump())):
        assert SECRET not in text
    assert json.loads(found.model_dump_json())["kafka"]["sasl_password"] == "**********"
    options = found.kafka.client_options()
    assert (options["sasl_plain_password"], options["ssl_password"]) == (SECRET, SECRET)


def test_secrets_are_in_no_error_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = WITH_SECRETS.replace(f'sasl_password = "{SECRET}"', f'sasl_password = ["{SECRET}"]').replace(
        "[database]", "[database]\nbogus = 1"
    )
    said = _problems(_toml(tmp_path, broken))
    assert "kafka.sasl_password" in said
    assert SECRET not in said
    monkeypatch.setenv("MONITOR_DATABASE", f'{{"url": "{SECRET}')
    assert SECRET not in _problems()


def _notifiers(tmp_path: Path, *given: tuple[str, str]) -> Path:
    """A settings file with a receiver that has notifiers of these types and names."""
    own = {"log": "", "webhook": ', url = "https://hooks.example/a"', "apprise": ', url = "json://hooks.example"'}
    tables = ", ".join(
        f'{{type = "{kind}"{own[kind]}' + (f', name = "{name}"' if name else "") + "}" for kind, name in given
    )
    return _toml(tmp_path, f'[[receivers]]\nname = "default"\nnotifiers = [{tables}]\n')


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ([("log", "")], ["log"]),
        ([("webhook", ""), ("log", ""), ("apprise", "")], ["webhook", "log", "apprise"]),
        ([("webhook", "a"), ("log", ""), ("webhook", "b")], ["a", "log", "b"]),
        ([("webhook", "webhook-2"), ("webhook", "webhook")], ["webhook-2", "webhook"]),
    ],
)
def test_a_notifier_without_a_name_is_called_by_its_type(
    tmp_path: Path, given: list[tuple[str, str]], names: list[str]
) -> None:
    (receiver,) = load(_notifiers(tmp_path, *given)).receivers
    assert [notifier.name for notifier in receiver.notifiers] == names
    assert [notifier.name for notifier in load().receivers[0].notifiers] == ["log"]


@pytest.mark.parametrize("names", [("", ""), ("", "chat"), ("chat", ""), ("webhook", "")])
def test_of_two_notifiers_of_one_type_both_need_a_name(tmp_path: Path, names: tuple[str, str]) -> None:
    said = _problems(_notifiers(tmp_path, ("log", ""), *(("webhook", name) for name in names)))
    assert "receivers.0.notifiers" in said
    assert '2 notifiers of type webhook must each have a name of their own, e.g. name = "webhook-a"' in said


def test_a_type_that_another_notifier_has_as_its_name_is_taken(tmp_path: Path) -> None:
    assert "two notifiers are named log" in _problems(_notifiers(tmp_path, ("log", ""), ("webhook", "log")))


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError):
        load().kafka.group = "x"  # type: ignore[misc]


def test_plain_connections_pass_no_security_options() -> None:
    assert Settings().kafka.client_options() == {
        "bootstrap_servers": ["localhost:9092"], "security_protocol": "PLAINTEXT",
    }  # fmt: skip


def test_built_in_rules_tell_every_receiver_there_is() -> None:
    found = load(receivers=[{"name": name, "notifiers": [{"type": "log"}]} for name in ("a", "b")])
    rules, tellings = watched(found)
    assert {telling.receivers for telling in tellings.values()} == {("a", "b")}
    assert set(tellings) == {rule.name for rule in rules}


def test_a_rule_of_the_file_is_what_fires_and_who_is_told(tmp_path: Path) -> None:
    found = load(_toml(tmp_path, '[[rules]]\nname = "x"\nalpha = 0.02\nrepeat_minutes = 30\n'))
    assert found.rules is not None
    assert watched(found) == ((CountRule(name="x", alpha=0.02),), {"x": Telling(("default",), 30)})


def test_each_kind_of_rule_becomes_its_own_and_refuses_what_only_others_know(tmp_path: Path) -> None:
    text = (
        '[[rules]]\nname = "slow"\nkind = "cusum"\nmemory_windows = 8\n'
        '[[rules]]\nname = "quiet"\nkind = "silence"\nmax_chance = 0.001\n'
    )
    rules, _ = watched(load(_toml(tmp_path, text)))
    assert rules == (CusumRule(name="slow", memory_windows=8), SilenceRule(name="quiet", max_chance=0.001))
    for kind, line, message in (
        ("count", "memory_windows = 8", "memory_windows is of kind cusum, and this rule is of kind count"),
        ("silence", "surge = 2", "surge is of kind count or cusum, and this rule is of kind silence"),
        ("cusum", "window_minutes = 1440\nbaseline_days = 5", "at least three times the windows that it remembers"),
        ("farrington", "", "'count', 'cusum' or 'silence'"),
    ):
        with pytest.raises(SettingsError, match=re.escape(message)):
            load(_toml(tmp_path, f'[[rules]]\nname = "x"\nkind = "{kind}"\n{line}\n'))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("repeat_minutes = -1", "rules.0.repeat_minutes: Value error, rule 'x': "),
        ("receivers = []", "rules.0.receivers: Value error, rule 'x': "),
        ('receivers = ["default", "default"]', "rule 'x': must not name one twice"),
        ('kind = "wavelet"', "rules.0.kind: Value error, rule 'x': "),
        ("resolve_alpha = 0.001", "rule 'x': resolve_alpha must be at least alpha"),
        ('dimensions = ["country"]', "rules.0.dimensions.0: Value error, rule 'x': "),
    ],
)
def test_a_rule_that_cannot_work_is_named_in_one_line(tmp_path: Path, line: str, said: str) -> None:
    problems = _problems(_toml(tmp_path, f'[[rules]]\nname = "x"\n{line}\n'))
    assert said in problems
    assert problems.count("\n") == 1


def test_a_secret_stays_a_secret_type() -> None:
    assert isinstance(load().database.url, SecretStr)


@pytest.mark.parametrize(
    "address", ["localhost", "localhost:9092", "[::1]:9092", "[::1]", "10.0.0.1:9092", "SASL_SSL://b:9093"]
)
def test_addresses_of_brokers(address: str) -> None:
    assert KafkaSettings(bootstrap_servers=[address]).bootstrap_servers == [address]


@pytest.mark.parametrize(
    "token", ["schlüssel-von-einiger-länge", "a token with some blanks", "a-token-of-two\nlines-x"]
)
def test_a_token_that_no_header_can_carry_is_refused_and_not_shown(token: str) -> None:
    problems = _problems(web={"token": token})
    assert "web.token" in problems
    assert "ASCII" in problems
    assert token not in problems
    assert load(web={"token": "a-token-of-some-length"}).web.token is not None


@pytest.mark.parametrize(
    ("given", "instead"),
    [
        ({"news": {"schema_registry": "https://monitor:s3cret@host"}}, "use schema_registry_username and"),
        ({"news": {"schema_registry": "https://host:s3cret"}}, "is no address"),
        ({"kafka": {"oauth_token_url": "https://monitor:s3cret@host/token"}}, "use oauth_client_id and"),
        ({"kafka": {"bootstrap_servers": ["monitor:s3cret@host:9092"]}}, "sasl_password"),
        ({"external_url": "https://monitor:s3cret@host"}, "links in alerts"),
    ],
)
def test_an_address_that_is_printed_may_hold_no_password(given: dict[str, Any], instead: str) -> None:
    problems = _problems(**given)
    assert instead in problems
    assert "s3cret" not in problems
