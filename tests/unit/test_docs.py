"""Documents say what the code does: generated ones are current, examples run, names and links exist."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import sqlite3
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import write_docs

from sentiment_monitor.domain import payload
from sentiment_monitor.domain.news import Position, Record, Story
from sentiment_monitor.errors import SettingsError, UsageError
from sentiment_monitor.ingest.decode import Decoder
from sentiment_monitor.ingest.fields import FIELDS
from sentiment_monitor.ingest.instants import instant_ms
from sentiment_monitor.notify.signature import sign
from sentiment_monitor.settings.alerting import RuleEntry
from sentiment_monitor.settings.load import load
from sentiment_monitor.store.database import Database
from sentiment_monitor.times import rfc3339

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "sentiment_monitor"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "corpus" / "README.md"])
CONTRACT = (ROOT / "docs" / "data-contract.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    """The text of the contract under one heading, up to the next of the same or a higher level."""
    level = heading.index(" ")
    match = re.search(rf"^{re.escape(heading)}$(.*?)(?=^#{{1,{level}}} |\Z)", CONTRACT, re.MULTILINE | re.DOTALL)
    assert match, heading
    return match[1]


def table(text: str) -> list[list[str]]:
    """Cells of the first table's rows, without its head."""
    rows = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert rows
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[0].splitlines()[2:]]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


# -- generated documents ------------------------------------------------------------------------------------------


def test_generated_documents_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    status = write_docs.main(["--check"])
    assert status == 0, capsys.readouterr().out


def test_a_stale_document_is_shown_as_a_diff_and_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    for path, wanted in write_docs.documents():
        (tmp_path / "docs" / path.name).write_text(wanted.replace("bootstrap_servers", "servers"), encoding="utf-8")
    monkeypatch.setattr(write_docs, "ROOT", tmp_path)
    assert write_docs.main(["--check"]) == 1
    said = capsys.readouterr().out
    assert "--- docs/configuration.md" in said
    assert "\n-| `servers` " in said
    assert "\n+| `bootstrap_servers` " in said
    assert write_docs.main([]) == 0
    assert write_docs.main(["--check"]) == 0


def test_an_unknown_argument_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="only --check"):
        write_docs.main(["--fix"])


def test_a_tree_without_markers_is_refused() -> None:
    with pytest.raises(UsageError, match="markers"):
        write_docs.with_tree("# Architecture\n")


def test_every_setting_and_every_field_of_a_rule_is_explained() -> None:
    text = write_docs.configuration()
    for field in dataclasses.fields(RuleEntry):
        assert f"| `{field.name}` |" in text.partition("## `[[rules]]`")[2]
    for row in re.findall(r"^\| `.*$", text, re.MULTILINE):
        assert not row.endswith("|  |"), f"no explanation: {row}"


def test_every_name_of_the_environment_works(monkeypatch: pytest.MonkeyPatch) -> None:
    names = re.findall(
        r"`(MONITOR_[A-Z_]+)`", "\n".join(re.findall(r"^\|.*$", write_docs.configuration(), re.MULTILINE))
    )
    assert len(names) > 30
    usual = load()
    for name in names:
        path = name.removeprefix("MONITOR_").lower().split("__")
        monkeypatch.setenv(name, "7")
        try:
            heard = load() != usual
        except SettingsError as error:  # 7 is not what it wants, and it says so
            heard = path[-1] in str(error) or path[0] in str(error)
        assert heard, name
        monkeypatch.delenv(name)


# -- the data contract --------------------------------------------------------------------------------------------


def test_the_fields_of_a_message_are_the_decoders() -> None:
    assert {row[0].strip("`") for row in table(section("## Message in"))} == set(FIELDS)


@pytest.mark.parametrize(("value", "read_as"), table(section("### Times")))
def test_a_documented_time_is_read_as_documented(value: str, read_as: str) -> None:
    assert rfc3339(instant_ms(json.loads(value.strip("`")), -1)) == read_as


def test_the_documented_mapping_reads_the_documented_message() -> None:
    text = section("### Feeds with other names")
    mapping = tomllib.loads(blocks(text, "toml")[0])["news"]["mapping"]
    value = blocks(text, "json")[0].encode()
    (story,) = Decoder(mapping).decode(Record(Position("news", 0, 0), None, value, 0))
    assert isinstance(story, Story)
    assert (story.source, story.story_id, story.tickers) == ("ridgewire", "4711", ("KSTR",))
    assert story.body == "Depositors wait. It is the second time."
    assert rfc3339(story.published_ms) == "2026-03-04T23:39:00Z"


def test_every_code_of_a_dead_letter_is_documented_and_no_other() -> None:
    def codes(path: Path) -> Iterator[str]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                place = {"RecordError": 0, "DeadLetter": 1}.get(node.func.id)
                if place is not None and isinstance(code := node.args[place], ast.Constant):
                    yield str(code.value)

    used = {code for room in ("ingest", "stream") for path in (SOURCE / room).glob("*.py") for code in codes(path)}
    assert len(used) > 10
    assert {row[0].strip("`") for row in table(section("## Dead letters"))} == used


@pytest.fixture(scope="module")
def columns(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Columns of every view and table of a new database."""
    file = tmp_path_factory.mktemp("contract") / "monitor.sqlite"
    database = Database(f"sqlite:///{file}")
    database.migrate()
    database.close()
    connection = sqlite3.connect(file)
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")]
    found = {name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for name in names}
    connection.close()
    return found


def test_every_view_is_documented_column_by_column(columns: dict[str, list[str]]) -> None:
    views = [name for name in columns if re.match(r"v\d+_", name)]
    assert views
    for view in views:
        assert [row[0].strip("`") for row in table(section(f"### {view}"))] == columns[view]


def test_every_private_table_is_named(columns: dict[str, list[str]]) -> None:
    tables = {name for name in columns if not re.match(r"v\d+_|sqlite_|alembic_", name)}
    text = section("## SQL views")
    named = re.search(r"The tables under them \((.*?)\)", text, re.DOTALL)
    assert named
    assert set(re.findall(r"`(\w+)`", named[1])) == tables


def test_the_documented_alert_is_an_alert() -> None:
    text = blocks(section("## Alert out"), "json")[0]
    decoded = msgspec.json.decode(text, type=payload.Payload)
    again = json.loads(payload.encode(decoded))
    assert again == json.loads(text)
    assert list(again["alerts"][0]["sentiment"]) == list(json.loads(text)["alerts"][0]["sentiment"])


def test_the_documented_check_of_a_signature_works() -> None:
    space: dict[str, Any] = {}
    exec(blocks(section("### Webhook"), "python")[0], space)
    is_genuine, body, now = space["is_genuine"], b'{"version":"4"}', int(time.time())
    genuine = sign("secret", body, now)
    assert is_genuine("secret", genuine, body)
    assert not is_genuine("other", genuine, body)
    assert not is_genuine("secret", genuine, body + b" ")
    assert not is_genuine("secret", sign("secret", body, now - 900), body)
    for header in ("", "t=,v1=", "t=x,v1=y", f"t={now}", "v1=abc", f"t={now},v1=é"):
        assert not is_genuine("secret", header, body)


# -- names and settings ------------------------------------------------------------------------------------------


def test_the_readme_names_every_command() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [command for command in write_docs.commands() if f"`monitor {' '.join(command)}" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_settings_shown_as_toml_can_be_read(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for number, text in enumerate(blocks(page.read_text(encoding="utf-8"), "toml")):
        file = tmp_path / f"{number}.toml"
        file.write_text(text, encoding="utf-8")
        load(file)
