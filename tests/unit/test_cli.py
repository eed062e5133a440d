"""The command line as a user meets it: help, wrong usage, and what each command prints."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs
from typer.main import get_command

from databases import migrated_sqlite
from replaying import House, titled
from sentiment_monitor import __version__, cli
from sentiment_monitor.domain.news import Dropped
from sentiment_monitor.score.lexicon import LexiconClassifier
from sentiment_monitor.store import schema
from sentiment_monitor.store.alerts import Change
from sentiment_monitor.store.database import Database
from sentiment_monitor.times import MINUTE_MS
from writing import Alerts, Desk, alert, dead, event, notification, scored

MINUTE = 27_974_481  # 2023-03-10 17:21
NOW = MINUTE * MINUTE_MS
Monitor = Callable[..., "Ran"]


class Ran:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def monitor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Monitor:
    """Runs a command in this process, as the console script does."""
    for name in list(os.environ):
        if name.startswith("MONITOR_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    # Rich and our own logging must not leave this test's streams behind.
    monkeypatch.setattr("sentiment_monitor.telemetry.log.configure", lambda *args, **options: None)

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["monitor", *arguments])
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1 if end.code else 0
        shown = capsys.readouterr()
        return Ran(code, shown.out, shown.err)

    return run


def _commands() -> list[list[str]]:
    def walk(command: object, path: list[str]) -> list[list[str]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            return [path]
        return [path, *(found for name, one in inner.items() for found in walk(one, [*path, name]))]

    return walk(get_command(cli.app), [])


def child(*arguments: str, code: str | None = None, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code or "from sentiment_monitor.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)  # type: ignore[call-overload,no-any-return]  # options of run()


# -- help and usage ---------------------------------------------------------------------------------


@pytest.mark.parametrize("command", _commands(), ids=lambda path: " ".join(path) or "monitor")
def test_every_command_explains_itself(monitor: Monitor, command: list[str]) -> None:
    ran = monitor(*command, "--help")
    assert ran.code == 0
    assert "Usage: monitor" in ran.out
    assert "-h" in ran.out


def test_help_and_import_load_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "openvino", "sqlalchemy", "kafka", "scipy", "numpy", "pydantic", "alembic")
    ran = child(
        "--help",
        code=(
            "import sys, sentiment_monitor.cli as cli\n"
            "try: cli.main()\n"
            f"finally: print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)\n"
        ),
    )
    assert ran.returncode == 0
    assert ran.stderr.strip() == "[]"
    assert "retrain" in ran.stdout


def test_the_version_is_printed(monitor: Monitor) -> None:
    assert monitor("version").out.strip() == monitor("--version").out.strip() == __version__


def test_without_arguments_the_help_is_shown(monitor: Monitor) -> None:
    ran = monitor()
    assert "Usage: monitor" in ran.out + ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "No such command"),
        (["run", "--bogus"], "No such option"),
        (["run", "--clock", "sundial"], "sundial"),
        (["run", "--exit-when-idle", "soon"], "--exit-when-idle soon: write a duration"),
        (["run", "--roles", "ingest,cook"], "--roles: unknown cook; roles are ingest, detect, web"),
        (["run", "--roles", ""], "--roles: names none"),
        (["run", "--roles", "detect", "--exit-when-idle", "1s"], "--exit-when-idle: only a process with the ingest"),
        (["run", "--config", "none.toml"], "none.toml does not exist"),
        (["verify", "--database", "postgresql://u:p@host:notaport/db"], "not a SQLAlchemy URL"),
        (["alerts", "show", "9" * 30], "Input should be less than or equal"),
        (["run", "--clock", "event", "--roles", "ingest"], "--clock event needs"),
        (["run", "--database", "nonsense"], "not a SQLAlchemy URL"),
        (["run", "--watchlist", "none.csv"], "none.csv: cannot be read"),
        (["score"], "give texts, or --input FILE"),
        (["score", "text", "--input", "a.csv"], "give texts, or --input FILE"),
        (["score", "--input", "none.csv", "--classifier", "lexicon"], "none.csv: no such file"),
        (["score", "text", "--format", "xml"], "xml"),
        (["evaluate"], "Missing argument"),
        (["evaluate", "none.csv", "--sentiment-column", "s", "--classifier", "lexicon"], "none.csv: no such file"),
        (["publish"], "Missing argument"),
        (["publish", "a.csv", "--map", "headline"], "--map headline: write NAME=VALUE"),
        (["publish", "a.csv", "--map", "=title"], "write NAME=VALUE"),
        (["publish", "a.csv", "--map", "headlin=title"], "unknown field 'headlin'; fields are id, action"),
        (["publish", "a.csv", "--map", "id=url", "--map", "id=guid"], "--map id=guid: id is given twice"),
        (["publish", "none.csv"], "none.csv: no such file"),
        (["publish", "a.csv", "--speed", "0"], "--speed"),
        (["publish", "a.csv", "--partitions", "0"], "--partitions"),
        (["retrain", "--output", "x"], "give --data FILE"),
        (["alerts"], "Usage: monitor alerts"),
        (["alerts", "list"], "there is no database monitor.sqlite"),
        (["alerts", "list", "--state", "angry"], "'angry' is not one of 'pending', 'firing'"),
        (["alerts", "show"], "Missing argument"),
        (["alerts", "show", "x"], "valid integer"),
        (["trend"], "Missing argument"),
        (["trend", "all", "--database", "sqlite:///none.sqlite"], "there is no database none.sqlite"),
        (["dead-letters", "--limit", "0"], "--limit"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_ends_with_2_and_says_what_to_change(monitor: Monitor, arguments: list[str], said: str) -> None:
    ran = monitor(*arguments)
    assert ran.code == 2
    assert said in " ".join((ran.err + ran.out).split())
    assert "Traceback" not in ran.err


def test_settings_problems_are_lines_and_not_tracebacks(monitor: Monitor, tmp_path: Path) -> None:
    (tmp_path / "monitor.toml").write_text("[kafka]\nbogus = 1\nmax_poll_records = 0\n")
    ran = monitor("config")
    assert ran.code == 2
    assert ran.err.startswith("monitor: settings are wrong in monitor.toml")
    assert "kafka.bogus" in ran.err
    assert "kafka.max_poll_records" in ran.err


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ('[news.mapping]\nheadline = "[[["', "is not JMESPath"),
        ('[news.mapping]\nbogus = "a"', "unknown field 'bogus'"),
        ('[news]\nwatchlist = "nope.csv"', "nope.csv: cannot be read"),
        ('[database]\nurl = "postgresql://u:p@host:notaport/db"', "not a SQLAlchemy URL"),
        (
            '[kafka]\nsecurity_protocol = "SSL"\nssl_cafile = "nope.pem"',
            "kafka.ssl_cafile nope.pem: there is no such file",
        ),
        ('[[receivers]]\nname = "a"\nnotifiers = [{type = "webhook", url = "ftp://x"}]', "must be http or https"),
        (
            '[[receivers]]\nname = "a"\nnotifiers = [{type = "apprise", url = "garbage"}]',
            "receiver a, notifier apprise: apprise does not understand this URL",
        ),
    ],
)
def test_what_run_would_refuse_config_refuses(monitor: Monitor, tmp_path: Path, setting: str, said: str) -> None:
    (tmp_path / "monitor.toml").write_text(setting)
    for command in ("config", "run"):
        ran = monitor(command)
        assert (ran.code, said in ran.err) == (2, True), ran.err


def test_a_webhook_shows_no_more_than_its_host(monitor: Monitor, tmp_path: Path) -> None:
    (tmp_path / "monitor.toml").write_text(
        '[[receivers]]\nname = "a"\nnotifiers = [{type = "webhook", url = "https://me:hunter2@hooks.example/hunter2"}]'
    )
    ran = monitor("config")
    assert json.loads(ran.out)["receivers"][0]["notifiers"][0]["url"] == "https://hooks.example/**********"


@pytest.mark.parametrize("command", [["score", "--input"], ["evaluate", "--sentiment-column", "s"]])
def test_a_file_is_looked_at_before_the_classifier_is_started(monitor: Monitor, command: list[str]) -> None:
    ran = monitor(*command, "none.csv", "--classifier", "no such classifier")
    assert (ran.code, ran.err) == (2, "monitor: none.csv: no such file\n")


def test_score_runs_the_classifier_as_the_settings_say(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def load(name: str, **options: object) -> LexiconClassifier:
        asked.update(options, name=name)
        return LexiconClassifier()

    monkeypatch.setattr("sentiment_monitor.score.load", load)
    monkeypatch.setenv("MONITOR_CLASSIFIER__CACHE_DIR", "kept")
    monkeypatch.setenv("MONITOR_CLASSIFIER__ENGINE", "torch")
    assert monitor("score", "Tarn Savings collapses").code == 0
    assert asked == {"name": "bundled", "cache_dir": Path("kept"), "engine": "torch", "max_windows": 16}


def test_what_an_encoding_lacks_costs_a_sign_and_not_the_answer(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2]), "PYTHONIOENCODING": "latin-1"}
    command = ("score", "银行 Tarn Savings collapses", "--classifier", "lexicon")
    ran = child(*command, env=environment, cwd=tmp_path, encoding="latin-1")
    assert (ran.returncode, ran.stderr, "?? Tarn Savings" in ran.stdout) == (0, "", True)
    ran = child(*command, "--format", "jsonl", env=environment, cwd=tmp_path, encoding="utf-8")
    assert json.loads(ran.stdout)["text"] == "银行 Tarn Savings collapses"


@pytest.mark.parametrize(("output", "code", "said"), [(">&-", 0, ""), ("> /dev/full", 1, "monitor: cannot write: No")])
def test_an_output_that_takes_nothing_is_no_traceback(tmp_path: Path, output: str, code: int, said: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    script = f"{shlex.quote(sys.executable)} -c 'from sentiment_monitor.cli import main; main()' version {output}"
    ran = subprocess.run(  # a shell is what closes outputs
        script, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == code
    assert ran.stderr.startswith(said)
    assert ran.stderr.count("\n") == bool(said)


def test_a_damaged_database_is_one_line(monitor: Monitor, tmp_path: Path) -> None:
    (tmp_path / "x.sqlite").write_bytes(bytes(range(256)) * 64)
    for command in ("verify", "migrate"):
        ran = monitor(command, "--database", "sqlite:///x.sqlite")
        assert ran.code == 1
        assert ran.err.startswith("monitor: x.sqlite is damaged, or no SQLite file at all")


def test_a_series_name_that_is_no_utf_8_is_just_unknown(monitor: Monitor, tmp_path: Path) -> None:
    assert monitor("migrate", "--database", "sqlite:///y.sqlite").code == 0
    ran = monitor("trend", "source:\udcff", "--database", "sqlite:///y.sqlite")
    assert (ran.code, ran.err) == (2, "monitor: the database holds no story yet\n")


def test_the_settings_in_force_are_printed_without_secrets(monitor: Monitor, tmp_path: Path) -> None:
    (tmp_path / "monitor.toml").write_text('[kafka]\nsasl_password = "hunter2"\n')
    ran = monitor("config")
    assert ran.code == 0
    assert json.loads(ran.out)["kafka"]["sasl_password"] == "**********"
    assert "hunter2" not in ran.out + ran.err


# -- score and evaluate -----------------------------------------------------------------------------

TEXTS = ["Kestrel Bank collapses, losses mount", "Profit soars to a record", "Kestrel Bank opens a branch"]


def _csv(folder: Path, rows: list[dict[str, str]]) -> str:
    with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return "rows.csv"


def _jsonl(folder: Path, rows: list[dict[str, str]]) -> str:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "rows.jsonl"


@pytest.mark.parametrize("make", [_csv, _jsonl])
def test_scores_come_in_input_order_with_the_promised_fields(
    monitor: Monitor, tmp_path: Path, make: Callable[[Path, list[dict[str, str]]], str]
) -> None:
    name = make(tmp_path, [{"title": text} for text in TEXTS])
    ran = monitor("score", "--input", name, "--text-column", "title", "--classifier", "lexicon", "--format", "jsonl")
    assert ran.code == 0
    found = [json.loads(line) for line in ran.out.splitlines()]
    assert [one["text"] for one in found] == TEXTS
    assert [one["label"] for one in found] == ["negative", "positive", "neutral"]
    for one in found:
        assert {"text", "label", "probabilities", "score", "confidence", "topic", "topic_confidence"} <= set(one)
        assert list(one["probabilities"]) == ["negative", "neutral", "positive"]
        assert sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-3)
        assert one["topic"] is None


@pytest.mark.parametrize("command", ["score", "evaluate", "bench"])
def test_a_settings_file_counts_for_every_command_that_needs_a_classifier(
    monitor: Monitor, tmp_path: Path, command: str
) -> None:
    settings = tmp_path / "other.toml"
    settings.write_text('[classifier]\nname = "no-such-folder/at-all"\n')
    file = tmp_path / "texts.csv"
    file.write_text("text,s\nTarn Savings collapses,negative\n")
    arguments = {
        "score": ["Tarn Savings collapses"],
        "evaluate": [str(file), "--sentiment-column", "s"],
        "bench": ["--limit", "1"],
    }
    ran = monitor(command, *arguments[command], "--config", str(settings))
    assert (ran.code, "no-such-folder/at-all" in ran.err) == (3, True), ran.err


def test_scores_are_of_the_configured_classifier(monitor: Monitor, tmp_path: Path) -> None:
    (tmp_path / "monitor.toml").write_text('[classifier]\nname = "lexicon"\n')
    named = monitor("score", *TEXTS, "--classifier", "lexicon", "--format", "jsonl")
    assert monitor("score", *TEXTS, "--format", "jsonl").out == named.out


def test_scores_of_texts_as_csv_and_table(monitor: Monitor) -> None:
    ran = monitor("score", *TEXTS, "--classifier", "lexicon", "--format", "csv")
    assert [row["label"] for row in csv.DictReader(io.StringIO(ran.out))] == ["negative", "positive", "neutral"]
    table = monitor("score", *TEXTS, "[bold]markup[/x] is text", "--classifier", "lexicon")
    assert table.code == 0
    assert "[bold]markup[/x] is text" in table.out


def test_a_missing_text_column_names_those_that_exist(monitor: Monitor, tmp_path: Path) -> None:
    name = _csv(tmp_path, [{"title": "x"}])
    ran = monitor("score", "--input", name, "--classifier", "lexicon")
    assert ran.code == 2
    assert "title" in ran.err


@pytest.mark.parametrize("make", [_csv, _jsonl])
def test_evaluate_maps_labels_by_name_and_prints_the_promised_figures(
    monitor: Monitor, tmp_path: Path, make: Callable[[Path, list[dict[str, str]]], str]
) -> None:
    name = make(tmp_path, [{"t": text, "s": label} for text, label in zip(TEXTS, "012", strict=True)])
    ran = monitor(
        "evaluate", name, "--text-column", "t", "--sentiment-column", "s", "--classifier", "lexicon", "--json",
        "--map", "0=negative", "--map", "1=positive", "--map", "2=neutral",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)["sentiment"]
    assert (found["n"], found["accuracy"], found["macro_f1"]) == (3, 1.0, 1.0)
    assert set(found["per_class"]["negative"]) == {"precision", "recall", "f1", "n"}
    assert "ece" in found


def test_a_label_that_is_none_of_ours_is_refused(monitor: Monitor, tmp_path: Path) -> None:
    name = _csv(tmp_path, [{"text": "x", "s": "sideways"}])
    ran = monitor("evaluate", name, "--sentiment-column", "s", "--classifier", "lexicon", "--json")
    assert ran.code == 2
    assert "sideways" in ran.err


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    name = _csv(tmp_path, [{"text": f"{TEXTS[n % 3]} {n} {'x' * 200}"} for n in range(20_000)])
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", "from sentiment_monitor.cli import main; main()", "score", "--input",
         name, "--classifier", "lexicon", "--format", "jsonl"],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert "negative" in process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        code = process.wait(60)
    assert (code, said) == (0, "")


# -- a database with something in it ----------------------------------------------------------------


NO_TICKER = Dropped("tickers", "not_a_ticker", "'A [B]'")


@pytest.fixture
def filled(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'filled.sqlite'}"
    database = migrated_sqlite(tmp_path / "filled.sqlite")
    Desk(database).write(
        *(
            scored(str(n), minute=MINUTE - n, label="negative", tickers=("KSB",), dropped=(NO_TICKER,) if n else ())
            for n in range(3)
        ),
        dead=[dead(3, code="not_utf8")],
    )
    alerts = Alerts(database)
    lease = alerts.leases.acquire("me", NOW, 1_000)
    assert lease is not None
    firing = alert(rule="company-hour", series="ticker:KSB", title="Kestrel [KSB] falls", fired_minute=MINUTE)
    fired = event(minute=MINUTE, explanation="Three negative stories.")
    alerts.apply(lease, MINUTE, [Change(firing, fired, [notification(key="key")])], NOW)
    database.close()
    return url


def test_alerts_are_listed_and_shown_for_people_and_machines(monitor: Monitor, filled: str) -> None:
    assert "Kestrel [KSB] falls" in monitor("alerts", "list", "--database", filled).out
    (listed,) = json.loads(monitor("alerts", "list", "--database", filled, "--json").out)
    assert (listed["series"], listed["state"], listed["fired_at"]) == ("ticker:KSB", "firing", "2023-03-10T17:21:00Z")
    assert listed["resolved_at"] is None
    assert json.loads(monitor("alerts", "list", "--database", filled, "--state", "resolved", "--json").out) == []
    shown = monitor("alerts", "show", "1", "--database", filled).out
    assert "Three negative stories." in shown
    assert "desk: queued" in shown
    found = json.loads(monitor("alerts", "show", "1", "--database", filled, "--json").out)
    assert found["events"][0]["evidence"]["sources"] == ["wire"]
    assert found["notifications"][0]["idempotency_key"] == "key"
    ran = monitor("alerts", "show", "2", "--database", filled)
    assert (ran.code, "there is no alert 2" in ran.err) == (2, True)


def test_what_people_do_about_an_alert_is_said_and_shown(monitor: Monitor, filled: str) -> None:
    def run(*words: str) -> tuple[int, str]:
        ran = monitor(*words, "--database", filled)
        return ran.code, ran.out + ran.err

    assert run("alerts", "ack", "1", "--owner", "ada [x]", "--note", "on it") == (
        0, "alert 1: acknowledged: ada [x] has it\n",
    )  # fmt: skip
    assert "ada [x]" in run("alerts", "list")[1]
    assert run("alerts", "comment", "1", "2", "-m", "as in May") == (
        1, "alert 1: comment kept\nalert 2: there is no such alert\n",
    )  # fmt: skip
    assert run("alerts", "unack", "1")[0] == run("alerts", "ack", "1")[0] == 0
    assert run("alerts", "dismiss", "1")[0] == 2
    assert run("alerts", "dismiss", "1", "--reason", "a namesake") == (
        0, "alert 1: dismissed: it ends with the next tick\n",
    )  # fmt: skip
    assert run("alerts", "resolve", "1")[0] == 1
    shown = run("alerts", "show", "1")[1]
    for words in ("acknowledged by", "ada [x] has it", "commented by", "as in May", "dismissed by", "a namesake"):
        assert words in shown
    people = json.loads(run("alerts", "show", "1", "--json")[1])["people"]
    assert [saying["deed"] for saying in people] == [
        "acknowledged", "commented", "unacknowledged", "acknowledged", "dismissed",
    ]  # fmt: skip
    (change,) = json.loads(run("alerts", "dismiss", "1", "-m", "again", "--json")[1])
    assert (change["id"], change["outcome"]) == (1, "already")


def test_silences_are_added_listed_and_ended(monitor: Monitor, filled: str) -> None:
    def run(*words: str) -> tuple[int, str]:
        ran = monitor("silences", *words, "--database", filled)
        return ran.code, ran.out + ran.err

    add = ("add", "series=ticker:KSB", "-m", "results")
    assert run("list") == (0, "no silences\n")
    assert run(*add) == (2, "monitor: say how long: --for 2h, or --until 2026-12-01T08:00Z\n")
    assert "a duration of at least 1m" in run(*add, "--for", "soon")[1]
    assert "would be over before it begins" in run(*add, "--until", "2020-01-01")[1]
    assert "--start noon: write a time" in run(*add, "--for", "2h", "--start", "noon")[1]
    code, added = run(*add, "--for", "2h", "--author", "ada", "--json")
    (silence,) = json.loads(added)
    assert (code, silence["author"], silence["matchers"]) == (0, "ada", ['series="ticker:KSB"'])
    assert 'series="ticker:KSB"' in run("list")[1]
    assert run("expire", "1", "2") == (
        1, "silence 1: expired: what still fires is told with the next tick\nsilence 2: there is no such silence\n",
    )  # fmt: skip
    assert run("list") == (0, "no silences\n")
    assert json.loads(run("list", "--all", "--json")[1])[0]["id"] == 1


def test_a_trend_is_shown_and_an_unknown_series_suggests_names(monitor: Monitor, filled: str) -> None:
    assert "negative" in monitor("trend", "ticker:KSB", "--database", filled).out
    found = json.loads(monitor("trend", "all", "--since", "1h", "--database", filled, "--json").out)
    assert sum(point["negative"] for point in found["points"]) == 3
    ran = monitor("trend", "company:ksb", "--database", filled)
    assert ran.code == 2
    assert "ticker:KSB" in ran.err
    assert monitor("trend", "ticker:NONE", "--database", filled).err.strip().endswith("has no story in that time")
    assert monitor("trend", "all", "--since", "999999999d", "--database", filled).code == 0


def test_dropped_fields_are_shown_for_people_and_machines(monitor: Monitor, filled: str) -> None:
    shown = monitor("dropped", "--database", filled, "--since", "2023-03-01").out
    assert "not_a_ticker" in shown
    assert "'A [B]'" in shown
    assert json.loads(monitor("dropped", "--database", filled, "--since", "2023-03-10", "--json").out) == [
        {"day": "2023-03-10", "source": "wire", "field": "tickers", "reason": "not_a_ticker", "stories": 2,
         "example": "'A [B]'"}
    ]  # fmt: skip
    assert monitor("dropped", "--database", filled).out == "every field could be read\n"


def test_dead_letters_are_listed(monitor: Monitor, filled: str) -> None:
    assert "not_utf8" in monitor("dead-letters", "--database", filled).out
    (found,) = json.loads(monitor("dead-letters", "--database", filled, "--json").out)
    assert (found["code"], found["offset"], found["raw_value"]) == ("not_utf8", 3, "\\xff")


@pytest.fixture
def put_aside(tmp_path: Path) -> Iterator[House]:
    """A feed of which the mapping was wrong, and an ingest process with the right one that does not run yet."""
    database = migrated_sqlite(tmp_path / "aside.sqlite")
    house = House(database)
    house.read(titled("a", "Kestrel falls"), titled("b", "Norwick falls"), titled("c", "Halden falls"), b"\xff\x00")
    house.mend()
    yield house
    database.close()


def test_dead_letters_are_replayed_by_number_by_code_or_all(monitor: Monitor, put_aside: House) -> None:
    url = put_aside.database.url.render_as_string()

    def ran(*choice: str) -> tuple[int, str]:
        done = monitor("dead-letters", "replay", *choice, "--database", url)
        return done.code, done.out.strip()

    with capture_logs(), put_aside.running():  # its log is that of another process
        assert ran("2") == (0, "1 of 1 dead letters replayed")
        code, said = ran("2")
        assert code == 0
        assert re.fullmatch("2: already replayed: at .* UTC\n0 of 1 dead letters replayed", said)
        assert ran("--code", "no_headline") == (0, "2 of 2 dead letters replayed")
        code, said = ran("--all")
        assert (code, said.startswith("4: unreadable: not_utf8")) == (1, True)
        assert ran("9") == (1, "9: unknown: there is no such dead letter\n0 of 1 dead letters replayed")
        assert ran("--code", "no_headline") == (0, "nothing to replay")
        done = monitor("dead-letters", "replay", "1", "4", "--json", "--database", url)
        assert [replay["outcome"] for replay in json.loads(done.out)] == ["already_replayed", "unreadable"]
    assert sorted(put_aside.stored()) == ["a", "b", "c"]
    assert "no_headline (replayed)" in monitor("dead-letters", "list", "--database", url).out
    for wrong in ([], ["2", "--all"], ["--all", "--code", "x"]):
        done = monitor("dead-letters", "replay", *wrong, "--database", url)
        assert (done.code, "say which dead letters" in done.err) == (2, True)


def test_a_replay_that_nobody_takes_up_says_so_and_waits_in_the_database(monitor: Monitor, put_aside: House) -> None:
    url = put_aside.database.url.render_as_string()
    done = monitor("dead-letters", "replay", "--all", "--wait", "0s", "--database", url)
    assert (done.code, done.out.strip()) == (1, "0 of 4 dead letters replayed")
    assert "no ingest process has taken them up" in done.err
    listed = monitor("dead-letters", "list", "--code", "no_headline", "--database", url).out
    assert (listed.count("no_headline (waits)"), "not_utf8" in listed) == (3, False)
    put_aside.replay()
    assert len(put_aside.stored()) == 3


def test_one_dead_letter_is_shown_with_its_bytes_and_what_the_settings_make_of_it(
    monitor: Monitor, put_aside: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = put_aside.database.url.render_as_string()
    shown = monitor("dead-letters", "show", "1", "--database", url).out
    for part in ("news/0@0", "no_headline", "put aside", '"title": "Kestrel falls"', "unreadable: no_headline"):
        assert part in shown
    monkeypatch.setenv("MONITOR_NEWS__MAPPING", '{"headline": "title"}')
    assert "created unknown/a: 'Kestrel falls'" in monitor("dead-letters", "show", "1", "--database", url).out
    assert "00000000  ff 00" in monitor("dead-letters", "show", "4", "--database", url).out
    answer = json.loads(monitor("dead-letters", "show", "4", "--json", "--database", url).out)
    assert (answer["value_base64"], answer["reading"].partition(":")[0]) == ("/wA=", "unreadable")
    with put_aside.database.write() as connection:
        connection.execute(
            update(schema.dead_letters).where(schema.dead_letters.c.id == 4).values(code="unreadable_batch")
        )
    assert "no settings make a message of it" in monitor("dead-letters", "show", "4", "--database", url).out
    done = monitor("dead-letters", "replay", "4", "--database", url)
    assert (done.code, "4: no message: a batch" in done.out) == (1, True)
    done = monitor("dead-letters", "show", "9", "--database", url)
    assert (done.code, "there is no dead letter 9" in done.err) == (2, True)


def test_dead_letters_are_written_whole(monitor: Monitor, put_aside: House, tmp_path: Path) -> None:
    url = put_aside.database.url.render_as_string()
    done = monitor("dead-letters", "export", "3", "4", "--database", url)
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [base64.b64decode(line["value_base64"]) for line in lines] == [titled("c", "Halden falls"), b"\xff\x00"]
    assert [(line["id"], line["offset"], line["key_base64"]) for line in lines] == [(3, 2, None), (4, 3, None)]
    assert "2 of 2 dead letters written" in done.err
    monitor("dead-letters", "export", "--all", "-o", "aside.jsonl", "--database", url)
    assert len((tmp_path / "aside.jsonl").read_text().splitlines()) == 4
    monitor("dead-letters", "export", "--code", "not_utf8", "--folder", "raw", "--database", url)
    assert {file.name: file.read_bytes() for file in (tmp_path / "raw").iterdir()} == {"4-news-0-3.bin": b"\xff\x00"}
    assert monitor("dead-letters", "export", "9", "--database", url).code == 1
    done = monitor("dead-letters", "export", "--all", "-o", "missing/file", "--database", url)
    assert (done.code, "cannot be written" in done.err) == (2, True)


def test_a_misspelt_command_on_dead_letters_is_named(monitor: Monitor, filled: str) -> None:
    done = monitor("dead-letters", "repaly", "1")
    assert (done.code, "No such command 'repaly'" in " ".join(done.err.split())) == (2, True), done.err


def test_verify_says_whether_the_buckets_agree(monitor: Monitor, filled: str) -> None:
    ran = monitor("verify", "--database", filled)
    assert (ran.code, "all equal" in ran.out) == (0, True)
    database = Database(filled)
    with database.write() as connection:
        connection.exec_driver_sql("update buckets set negative = 9 where series = 'ticker:KSB'")
    database.close()
    ran = monitor("verify", "--database", filled, "--json")
    assert ran.code == 1
    assert [one["series"] for one in json.loads(ran.out)["wrong"]] == ["ticker:KSB"] * 3
    assert "ticker:KSB at" in monitor("verify", "--database", filled).out


def test_migrate_makes_the_schema_once(monitor: Monitor, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.sqlite'}"
    first, second = (monitor("migrate", "--database", url).out for _ in range(2))
    assert second.strip() == f"{first.strip()} already"


def test_a_database_that_was_never_migrated_names_the_remedy(monitor: Monitor, tmp_path: Path) -> None:
    (tmp_path / "empty.sqlite").touch()
    ran = monitor("alerts", "list", "--database", f"sqlite:///{tmp_path / 'empty.sqlite'}")
    assert ran.code == 1
    assert "monitor migrate" in ran.err


def test_an_empty_database_has_no_trend(monitor: Monitor, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.sqlite'}"
    monitor("migrate", "--database", url)
    ran = monitor("trend", "all", "--database", url)
    assert (ran.code, "holds no story yet" in ran.err) == (2, True)


def test_an_interrupt_ends_with_130(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sentiment_monitor.demo.show.play", interrupt)
    assert monitor("demo").code == 130


def test_a_reader_that_never_read_is_no_error_either(tmp_path: Path, filled: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    read, write = os.pipe()
    os.close(read)
    try:
        ran = subprocess.run(
            [sys.executable, "-c", "from sentiment_monitor.cli import main; main()", "trend", "all", "--json",
             "--database", filled],
            cwd=tmp_path, env=environment, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(write)
    assert (ran.returncode, ran.stderr) == (0, "")
