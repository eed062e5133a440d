"""What lies in deploy/ and docker-compose.yml, checked without an engine: nothing here starts a container."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from sentiment_monitor.enrich.names import Watchlist
from sentiment_monitor.errors import MonitorError
from sentiment_monitor.settings import load as loading
from sentiment_monitor.settings import secrets

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"
DEPLOY = ROOT / "deploy"


@pytest.fixture(autouse=True)
def _no_settings_from_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(secrets, "SECRETS_DIR", tmp_path / "secrets")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(COMPOSE.read_text())
    return loaded


def _check_schema(file: Path) -> subprocess.CompletedProcess[str]:
    schema = ["--builtin-schema", "vendor.compose-spec"]
    command = [sys.executable, "-m", "check_jsonschema", *schema, str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def _is_setting(variable: str) -> bool:
    """Whether MONITOR_A__B names a field of the settings tree."""
    model: Any = loading.Settings
    for name in variable.removeprefix("MONITOR_").lower().split("__"):
        if not (isinstance(model, type) and issubclass(model, BaseModel) and name in model.model_fields):
            return False
        model = model.model_fields[name].annotation
    return True


def test_the_compose_file_keeps_the_compose_schema() -> None:
    done = _check_schema(COMPOSE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_schema_would_find_a_misspelt_key(tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(COMPOSE.read_text().replace("stop_grace_period", "stop_grace_time", 1))
    assert _check_schema(wrong).returncode != 0


def test_every_monitor_variable_is_a_setting_that_loads(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = compose["services"]["monitor"]["environment"]
    for name, value in environment.items():
        assert name == "MONITOR_CONFIG" or _is_setting(name), f"{name} is not a setting"
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MONITOR_CONFIG", str(DEPLOY / "monitor.toml"))
    loaded = loading.load()
    assert loaded.kafka.bootstrap_servers == ["kafka:19092"]
    listeners = compose["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"://{loaded.kafka.bootstrap_servers[0]}" in listeners


def test_a_name_that_is_no_setting_is_noticed() -> None:
    assert _is_setting("MONITOR_KAFKA__TOPICS")
    assert not _is_setting("MONITOR_KAFKA__TOPIC")
    assert not _is_setting("MONITOR_KAFKAS__TOPICS")


def test_the_database_url_comes_from_the_secret_file(compose: dict[str, Any], tmp_path: Path) -> None:
    names = compose["services"]["monitor"]["secrets"]
    assert names == ["monitor_database__url"]
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / names[0]).write_text("postgresql+psycopg://monitor:secret@postgres/monitor\n")
    (folder / "postgres_password").write_text("secret")  # another program's
    url = loading.load(DEPLOY / "monitor.toml").database.url.get_secret_value()
    assert url == "postgresql+psycopg://monitor:secret@postgres/monitor"


def test_secrets_are_files_that_git_ignores(compose: dict[str, Any]) -> None:
    text = COMPOSE.read_text()
    for secret in compose["secrets"].values():
        assert secret["file"].startswith("./deploy/secrets/")
    assert "*" in (DEPLOY / "secrets" / ".gitignore").read_text().split()
    assert not re.search(r"PASSWORD:\s", text)


def test_services_wait_for_health_and_are_bounded(compose: dict[str, Any]) -> None:
    services = compose["services"]
    waits = services["monitor"]["depends_on"]
    assert {name for name, how in waits.items() if how["condition"] == "service_healthy"} == {"kafka", "postgres"}
    for name, service in services.items():
        assert service["restart"] == "unless-stopped", name
        assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"]), name
        assert "stop_grace_period" in service, name
    for name in ("kafka", "postgres"):
        assert services[name]["healthcheck"]["test"], name
        assert any(volume.startswith(f"{name}:") for volume in services[name]["volumes"]), name
    monitor = services["monitor"]
    assert monitor["read_only"]
    assert monitor["tmpfs"]
    assert monitor["user"].split(":")[0] not in {"0", "root"}


def test_mounted_files_and_the_dockerfile_exist(compose: dict[str, Any]) -> None:
    monitor = compose["services"]["monitor"]
    assert (ROOT / monitor["build"]["dockerfile"]).is_file()
    for volume in monitor["volumes"]:
        if volume.startswith("."):
            assert (ROOT / volume.split(":")[0]).is_file(), volume


def test_the_dockerfile_copies_what_the_ignore_file_lets_through() -> None:
    let_through = set(re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    copied: set[str] = set()
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE):
        copied |= set(line.split())
    assert copied == let_through
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    user = re.findall(r"^USER (\S+)", dockerfile, re.MULTILINE)[-1]
    assert user == YAML(typ="safe").load(COMPOSE.read_text())["services"]["monitor"]["user"]
    assert "://" not in dockerfile  # registries are the builder's own business


def test_the_unit_sets_real_settings_and_gives_the_drain_its_time() -> None:
    unit = configparser.RawConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    text = (DEPLOY / "sentiment-monitor.service").read_text()
    unit.read_string(text)
    service = unit["Service"]
    assert service["Type"] == "exec"
    assert service["Restart"] == "always"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"  # or it gives up after five starts
    assert {"2", "3"} <= set(service["RestartPreventExitStatus"].split())
    for name in re.findall(r"^Environment=(\w+)=", text, re.MULTILINE):
        assert name == "MONITOR_CONFIG" or _is_setting(name), f"{name} is not a setting"
    from sentiment_monitor.app.signals import DRAIN_SECONDS

    assert int(service["TimeoutStopSec"]) > DRAIN_SECONDS
    compose_file = YAML(typ="safe").load(COMPOSE.read_text())
    assert int(compose_file["services"]["monitor"]["stop_grace_period"].rstrip("s")) > DRAIN_SECONDS


def test_exit_codes_that_must_not_restart_are_those_of_the_error_tree() -> None:
    def codes(kind: type[MonitorError]) -> set[int]:
        return {kind.exit_code}.union(*(codes(one) for one in kind.__subclasses__()))

    text = (DEPLOY / "sentiment-monitor.service").read_text()
    match = re.search(r"^RestartPreventExitStatus=(.+)$", text, re.MULTILINE)
    assert match
    never = {int(code) for code in match.group(1).split()}
    assert never <= codes(MonitorError)
    assert never.isdisjoint({1, 4})  # a fault, and an outside system that is away: try again


def test_the_example_settings_load_with_nothing_unknown() -> None:
    from sentiment_monitor.app.policy import watched

    loaded = loading.load(DEPLOY / "monitor.toml")
    assert [rule.name for rule in watched(loaded)[0]] == ["company-hour", "company-day", "market-mood"]
    assert json.loads(loaded.model_dump_json())["kafka"]["topics"] == ["news"]


def test_every_commented_example_in_the_settings_file_loads_too(tmp_path: Path) -> None:
    text = (DEPLOY / "monitor.toml").read_text()
    # A comment that is TOML: a table, or name = value. Prose never has " = " after one word.
    everything = re.sub(r"^# (\[|[a-z_]+ = )", r"\1", text, flags=re.MULTILINE)
    assert everything != text
    file = tmp_path / "all.toml"
    file.write_text(everything)
    loaded = loading.load(file)
    assert loaded.kafka.sasl_mechanism == "SCRAM-SHA-512"
    assert loaded.news.mapping["headline"] == "title"
    assert [notifier.type for notifier in loaded.receivers[0].notifiers] == ["log", "webhook", "apprise"]


def test_the_example_rules_are_the_built_in_ones() -> None:
    from sentiment_monitor.detect.rules import DEFAULT_RULES

    loaded = loading.load(DEPLOY / "monitor.toml").rules
    assert loaded
    assert tuple(entry.rule for entry in loaded) == DEFAULT_RULES


@pytest.mark.parametrize(
    ("text", "tickers"),
    [
        ("SVB's collapse", {"SIVB"}),
        ("Silicon Valley Bank was shut", {"SIVB"}),
        ("Signature Bank follows", {"SBNY"}),
        ("First Republic falls, First Citizens bids", {"FRC", "FCNCA"}),
        ("Credit Suisse sinks, UBS and Deutsche Bank too", {"CS", "UBS", "DB"}),
        ("PacWest explores a sale", {"PACW"}),
        ("JPMorgan and Bank of America", {"JPM", "BAC"}),
        ("The gap between target and visa rules: a shell of an apple", set()),
        ("Target rate unchanged; Gap between rich and poor", set()),
        ("People's Bank of China eases", set()),
        ("Most U.S. bank stocks rose", set()),
        ("CMA clears the merger, FRC fines the auditor, DFS warns", set()),
        ("KEY takeaways ON what IT budgets and USB sticks cost ALL of us", set()),
        ("US banks: (NYSE: CMA), (NYSE: KEY)", {"CMA", "KEY"}),
        ("Johnson and Johnson, Societe Generale, Coca Cola", {"JNJ", "GLE", "KO"}),
    ],
)
def test_the_watchlist_finds_companies_and_not_words(text: str, tickers: set[str]) -> None:
    assert Watchlist.load(DEPLOY / "watchlist.csv").find(text) == tickers


def test_the_watchlist_has_companies_enough_and_no_name_twice() -> None:
    lines = [line for line in (DEPLOY / "watchlist.csv").read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) >= 90
    owner: dict[str, str] = {}
    for line in lines:
        for name in {cell.strip().lower() for cell in line.split(",") if "group:" not in cell}:
            assert owner.setdefault(name, line) == line, f"{name} is in two lines"
