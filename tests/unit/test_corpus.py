"""The corpus keeps its guideline, and scripts/check-corpus finds every way of breaking it."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "check-corpus"

Row = dict[str, Any]


def check(folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *([folder] if folder else [])], capture_output=True, text=True, timeout=120
    )


def test_the_corpus_has_no_problem() -> None:
    done = check()
    assert done.returncode == 0, done.stdout + done.stderr


def edit(number: int, change: Callable[[Row], Row]) -> Callable[[list[str]], None]:
    """Changes one line, counted from 1."""

    def apply(lines: list[str]) -> None:
        lines[number - 1] = json.dumps(change(json.loads(lines[number - 1])), ensure_ascii=False)

    return apply


def spoil(lines: list[str]) -> None:
    lines[4] = lines[4][:-9]


def copy_text(lines: list[str]) -> None:
    lines[49] = json.dumps(json.loads(lines[49]) | {"text": json.loads(lines[47])["text"].upper()})


def nearly_copy_text(lines: list[str]) -> None:
    words = json.loads(lines[59])["text"].split()
    lines[61] = json.dumps(json.loads(lines[61]) | {"text": " ".join(["Really,", *words]), "pair": None})


def repeat_a_phrase(lines: list[str]) -> None:
    for number, words in ((71, "Ort Bank"), (74, "Lower Fen Mills says"), (77, "Quay 9:"), (80, "$ABCX")):
        text = f"{words} the geese at {number}th street have walked quietly home again after {words} number {number}"
        lines[number - 1] = json.dumps(json.loads(lines[number - 1]) | {"text": text, "pair": None})


def remove_a_pair_member(lines: list[str]) -> None:
    place = max(number for number, line in enumerate(lines) if json.loads(line)["pair"] == "macro-p100")
    lines[place] = json.dumps(json.loads(lines[place]) | {"pair": None})


def agree_within_a_pair(lines: list[str]) -> None:
    for place, line in enumerate(lines):
        if (row := json.loads(line))["pair"] == "macro-p101":
            lines[place] = json.dumps(row | {"sentiment": "negative"})


def grow_too_positive(lines: list[str]) -> None:
    for place, line in enumerate(lines):
        if (row := json.loads(line))["sentiment"] == "negative" and place % 3 and not row["pair"]:
            lines[place] = json.dumps(row | {"sentiment": "positive"})


def company(place: int, **change: object) -> Callable[[Row], Row]:
    """Changes fields of one company of a line."""

    def apply(row: Row) -> Row:
        row["companies"][place] |= change
        return row

    return apply


def shift(row: Row) -> Row:
    """The name is still said to stand there, but a character further on."""
    first = row["companies"][0]
    return {**row, "companies": [{**first, "start": first["start"] + 1, "end": first["end"] + 1}]}


def halve(row: Row) -> Row:
    first = row["companies"][0]
    half = len(first["name"].split()[0]) // 2
    return {**row, "companies": [{**first, "name": first["name"][:half], "end": first["start"] + half}]}


def name_twice(row: Row) -> Row:
    """The second mention is labelled, not the first."""
    first = row["companies"][0]
    text = f"{row['text']} {first['name']}"
    return {**row, "text": text, "companies": [{**first, "start": len(row["text"]) + 1, "end": len(text)}]}


def rewrite(text: str, name: str, pair: str | None = None) -> Callable[[Row], Row]:
    start = text.index(name)
    companies = [{"name": name, "start": start, "end": start + len(name), "sentiment": "neutral"}]
    return lambda row: {**row, "text": text, "companies": companies, "pair": pair}


def lone_company_pair(lines: list[str]) -> None:
    place = max(place for place, line in enumerate(lines) if json.loads(line)["pair"] == "en-deals-p3")
    lines[place] = json.dumps(json.loads(lines[place]) | {"pair": None})


def agree_by_company(lines: list[str]) -> None:
    for place, line in enumerate(lines):
        if (row := json.loads(line))["pair"] == "en-deals-p4":
            for item in row["companies"]:
                item["sentiment"] = "negative"
            lines[place] = json.dumps(row)


def all_bad(lines: list[str]) -> None:
    for place, line in enumerate(lines):
        row = json.loads(line)
        for item in row["companies"]:
            item["sentiment"] = "negative"
        lines[place] = json.dumps(row | {"event": "collapse"})


# File, how it is broken, and what must be said: {file} and the number of a line are part of it.
BROKEN: list[tuple[str, Callable[[list[str]], None], str]] = [
    ("en/macro", edit(6, lambda row: {**row, "note": "x"}), "{file}:6: fields must be"),
    (
        "en/macro",
        edit(7, lambda row: {**row, "text": None}),
        "{file}:7: every field but pair and companies",
    ),
    ("en/macro", edit(8, lambda row: {**row, "id": "results-0001"}), "{file}:8: id 'results-0001'"),
    ("en/macro", edit(9, lambda row: {**row, "sentiment": "bad"}), "{file}:9: sentiment 'bad' is unknown"),
    ("en/macro", edit(10, lambda row: {**row, "style": "poem"}), "{file}:10: style 'poem' is unknown"),
    ("en/macro", edit(11, lambda row: {**row, "topic": "sports"}), "{file}:11: topic 'sports' is unknown"),
    ("en/macro", edit(12, lambda row: {**row, "event": "Rate Cut"}), "{file}:12: event 'Rate Cut'"),
    ("en/macro", edit(13, lambda row: {**row, "pair": "p13"}), "{file}:13: pair 'p13'"),
    ("en/macro", edit(40, lambda row: {**row, "text": "Fed waits again"}), "{file}:40: 3 words"),
    ("en/macro", edit(42, lambda row: {**row, "text": row["text"] + " "}), "{file}:42: stray white space"),
    ("en/macro", edit(44, lambda row: {**row, "id": "macro-0001"}), "{file}:44: id macro-0001 is also at {file}:1"),
    ("en/macro", copy_text, "{file}:50: the same text as {file}:48"),
    ("en/macro", nearly_copy_text, "{file}:62: 0."),
    ("en/macro", repeat_a_phrase, "{file}:80: 'have walked quietly home again after' stands in 4 lines"),
    ("en/macro", remove_a_pair_member, "pair macro-p100 has 1 member(s)"),
    ("en/macro", agree_within_a_pair, "both members of pair macro-p101 are negative"),
    ("en/macro", spoil, "{file}:5: not JSON"),
    ("en/conduct", grow_too_positive, "{file}: 4"),
    ("zh/news", edit(20, lambda row: {**row, "text": "升息了吗"}), "{file}:20: 4 characters"),
    ("zh/news", edit(30, lambda row: {**row, "sentiment": "positive"}), "{folder}/README.md: the counts are stale"),
    (
        "companies/en-courts",
        edit(1, lambda row: {**row, "topic": "ipo"}),
        "{file}:1: fields must be id, text, com",
    ),
    (
        "companies/en-courts",
        edit(2, lambda row: {**row, "companies": []}),
        "{file}:2: companies must be a list",
    ),
    ("companies/en-courts", edit(3, shift), "{file}:3: company"),
    ("companies/en-courts", edit(4, company(0, sentiment="bad")), "{file}:4: sentiment 'bad'"),
    ("companies/en-courts", edit(5, company(0, ticker="X")), "{file}:5: fields of a company must be name, start"),
    ("companies/en-courts", edit(6, halve), "is cut out of a word"),
    ("companies/en-courts", edit(7, name_twice), "{file}:7: company"),
    ("companies/en-courts", edit(8, lambda row: {**row, "companies": row["companies"] * 2}), "{file}:8: company"),
    ("companies/en-courts", edit(9, rewrite("Orm Mills fell", "Orm Mills")), "{file}:9: 3 words"),
    ("companies/en-courts", edit(10, rewrite("Reshuffle at $AAPL this Monday", "$AAPL")), "$AAPL is not invented"),
    ("companies/en-courts", edit(11, lambda row: {**row, "pair": "en-deals-p1"}), "{file}:11: pair 'en-deals-p1'"),
    ("companies/en-deals", lone_company_pair, "pair en-deals-p3 has 1 member(s), it must have 2 to 4"),
    ("companies/en-deals", agree_by_company, "pair en-deals-p4: the companies have the same labels as at"),
    ("companies/en-alone", all_bad, "% negative, allowed are 35% to 50%"),
    ("companies/en-distance", all_bad, "{folder}/companies: en: event collapse is 3"),
    ("companies/en-rivals", all_bad, "{folder}/companies: en: companies differ in 4"),
    ("companies/en-voices", all_bad, "{folder}/companies: en: "),
]


if (public := ROOT.parent / "shared/data/sentfin/derived_headline_3class.csv").is_file():
    with public.open(encoding="utf-8", newline="") as stream:
        long = next(row["title"] for row in csv.DictReader(stream) if len(row["title"].split()) == 12)
    BROKEN.append(
        ("en/distress", edit(30, lambda row: {**row, "text": long.lower()}), "{file}:30: the whole text is in")
    )


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """What the script says of a copy that is broken in every way at once."""
    folder = tmp_path_factory.mktemp("broken") / "corpus"
    shutil.copytree(ROOT / "corpus", folder)
    for name, spoiling, _ in BROKEN:
        file = folder / f"{name}.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines()
        spoiling(lines)
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    done = check(folder)
    assert done.returncode == 1, done.stderr
    return folder, done.stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [(name, message) for name, _, message in BROKEN],
    ids=[f"{number}-{message[:30]}" for number, (_, _, message) in enumerate(BROKEN)],
)
def test_a_broken_copy_is_found_out(said: tuple[Path, str], name: str, message: str) -> None:
    folder, output = said
    assert message.format(file=folder / f"{name}.jsonl", folder=folder) in output


def test_two_files_of_one_stem_are_a_problem(tmp_path: Path) -> None:
    for language in ("en", "zh"):
        (tmp_path / language).mkdir()
        shutil.copy(ROOT / "corpus/en/world.jsonl", tmp_path / language)
    assert f"{tmp_path}/zh/world.jsonl: {tmp_path}/en/world.jsonl has the same stem" in check(tmp_path).stdout


def test_a_folder_without_a_corpus_is_a_problem(tmp_path: Path) -> None:
    done = check(tmp_path)
    assert done.returncode == 1
    assert "no corpus here" in done.stdout


def test_training_never_parts_a_pair() -> None:
    from sentiment_monitor.train import data, recipe

    bundled = recipe.read(ROOT / "src/sentiment_monitor/train/bundled.toml")
    ours = tuple(
        source.model_copy(update={"file": ROOT / source.file})
        for source in bundled.data
        if source.file.parts[0] == "corpus"
    )
    split = data.build(bundled.model_copy(update={"data": ours, "held_out": ()}))
    sides: defaultdict[str, list[str]] = defaultdict(list)
    for side, rows in {"train": split.train, "development": split.development, **split.held_out}.items():
        for row in rows:
            if row.pair:
                sides[row.pair].append(side)
    assert sum(side[0].startswith("corpus") for side in sides.values()) > 100, "no pair is held out"
    assert {name: both for name, both in sides.items() if len(both) != 2 or both[0] != both[1]} == {}
