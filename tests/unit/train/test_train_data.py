"""Labelled rows and their split."""

import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_monitor.domain.news import Sentiment
from sentiment_monitor.errors import UsageError
from sentiment_monitor.train import data
from sentiment_monitor.train.recipe import Data, HeldOut, Recipe, for_files, read

WORDS = ["bank", "Bank!", "loss", "loss https://t.co/a", "profit", "PROFIT.", "rises", "falls", "x1", "x2", "x3", "x4"]
LABELS = st.sampled_from(["negative", "positive", "neutral"])
PHRASES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4)
LINES = st.lists(st.tuples(PHRASES, LABELS, st.sampled_from([None, "p1", "p2", "p3"])), min_size=30, max_size=60)


def _write(path: Path, lines: list[tuple[list[str], str, str | None]]) -> None:
    rows = [{"text": " ".join(words), "sentiment": label, "pair": pair} for words, label, pair in lines]
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")


@settings(max_examples=40, deadline=None)
@given(LINES, LINES, st.integers(0, 5))
def test_no_text_and_no_pair_is_on_two_sides(
    first: list[tuple[list[str], str, str | None]], second: list[tuple[list[str], str, str | None]], seed: int
) -> None:
    with TemporaryDirectory() as folder:
        train, valid = Path(folder) / "train.jsonl", Path(folder) / "valid.jsonl"
        _write(train, first)
        _write(valid, second[:3])
        recipe = Recipe(
            split_seed=seed,
            development=0.3,
            data=(Data(name="a", file=train, sentiment="sentiment", pair="pair", held_out=0.3),),
            held_out=(HeldOut(name="v", file=valid, sentiment="sentiment", minus="a"),),
        )
        try:
            split = data.build(recipe)
        except UsageError:
            return
    sides = [split.train, split.development, *split.held_out.values()]
    keys = [{row.key for row in side} for side in sides]
    for number, some in enumerate(keys):
        assert all(some.isdisjoint(other) for other in keys[number + 1 :])
    groups = [{row.pair for row in side if row.pair} for side in sides]
    for number, pairs in enumerate(groups):
        assert all(pairs.isdisjoint(other) for other in groups[number + 1 :])
    assert all(row.key == data.normalise(row.text) for side in sides for row in side)


def test_copies_merge_their_labels_and_lose_contradictory_ones() -> None:
    report: dict[str, Counter[str]] = {"a": Counter()}
    rows = [
        data.Row("Bank up", "bank up", sentiment="positive", origin="a"),
        data.Row("Bank up!", "bank up", topic="markets", origin="a"),
        data.Row("x", "x", sentiment="negative", origin="a"),
        data.Row("X", "x", sentiment="neutral", origin="a"),
    ]
    (kept,) = data.merge(rows, report)
    assert (kept.sentiment, kept.topic) == ("positive", "markets")
    assert report["a"] == Counter(duplicate=2, conflict=1)


def test_thinned_labels_stay_out_and_the_report_adds_up(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "".join(f"word{n},neutral\n" for n in range(400)), encoding="utf-8")
    recipe = Recipe(data=(Data(name="a", file=path, sentiment="label", keep={"neutral": 0.35}, held_out=0.1),))
    split = data.build(recipe)
    counts = split.report["a"]
    assert counts["read"] == 400 == sum(counts[step] for step in ("train", "development", "held_out", "thinned"))
    assert 0.25 < (counts["train"] + counts["development"]) / (400 - counts["held_out"]) < 0.45
    assert data.build(recipe) == split
    assert data.build(recipe.model_copy(update={"seed": 7})) == split  # runs that differ in seed are comparable
    assert data.build(recipe.model_copy(update={"split_seed": 7})).held_out != split.held_out


def test_plain_files_are_recognised_by_their_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Title,Label\nx,Bearish\n", encoding="utf-8")
    recipe = for_files([tmp_path / "a.csv"])
    (row,) = data.read_file(recipe.data[0], Counter())
    assert (row.text, row.sentiment) == ("x", "negative")
    (tmp_path / "b.csv").write_text("words,label\nx,y\n", encoding="utf-8")
    with pytest.raises(UsageError, match="its columns are: words, label"):
        for_files([tmp_path / "b.csv"])


def test_labels_nobody_knows_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nx,7\n", encoding="utf-8")
    with pytest.raises(UsageError, match="sentiment '7'"):
        data.build(for_files([tmp_path / "a.csv"]))
    assert data.topic_label("Fed | Central Banks", {}, tmp_path) == "central_banks"
    assert data.topic_label("Stock Movement", {}, tmp_path) == "stock_movement"


def test_a_wrong_recipe_names_the_key(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text("epoch = 3\n", encoding="utf-8")
    with pytest.raises(UsageError, match="epoch"):
        read(path)
    path.write_text("epochs = 0\n", encoding="utf-8")
    with pytest.raises(UsageError, match="epochs"):
        read(path)


def test_the_committed_recipe_is_valid_and_reads_the_shared_data() -> None:
    recipe = read(Path(data.__file__).with_name("bundled.toml"))
    if not Path("../shared/data").is_dir():
        pytest.skip("needs ../shared/data beside the checkout")
    split = data.build(recipe)
    trained = {row.key for row in (*split.train, *split.development)}
    assert all(trained.isdisjoint(row.key for row in rows) for rows in split.held_out.values())


def test_a_label_file_gives_some_texts_of_several_files_a_sentiment(tmp_path: Path) -> None:
    texts = ["Tarn Savings shuts its doors", "Elmet opens a plant", "Kestrel sets the date of its meeting"]
    (tmp_path / "a.csv").write_text(f"title,kind\n{texts[0]},markets\n{texts[1]},\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text(f"title,kind\n{texts[2]},\n{texts[0]},markets\n", encoding="utf-8")
    given = [(texts[0], "negative"), (texts[1], "positive")]
    lines = [f"{data.text_hash(text)},{label}" for text, label in given]
    (tmp_path / "labels.csv").write_text("\n".join(["sha1,label", *lines]), encoding="utf-8")
    source = Data(name="x", file=tmp_path / "*.csv", text="title", topic="kind", labels=tmp_path / "labels.csv")
    with pytest.raises(UsageError, match="title"):
        data.read_file(source, Counter())  # labels.csv matches the pattern too and has no such column
    (tmp_path / "labels.csv").rename(tmp_path / "labels")
    source = source.model_copy(update={"labels": tmp_path / "labels"})
    rows = data.read_file(source, Counter())
    assert [(row.text, row.sentiment, row.topic) for row in rows] == [
        (texts[0], "negative", "markets"),
        (texts[1], "positive", None),
        (texts[0], None, "markets"),
    ]
    held_out = HeldOut(name="y", file=tmp_path / "a.csv", text="title", body="kind", labels=tmp_path / "labels")
    assert [row.body for row in data.read_file(held_out, Counter())] == ["markets", ""]


def test_a_pattern_that_matches_nothing_and_two_sources_of_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        data.files_of(tmp_path / "*.csv")
    (tmp_path / "a.csv").touch()
    (tmp_path / "b.csv").touch()
    assert data.files_of(tmp_path / "*.csv", ["a.csv"]) == [tmp_path / "b.csv"]
    with pytest.raises(UsageError, match="one file"):
        data.files_of(tmp_path / "a.csv", ["a.csv"])
    with pytest.raises(UsageError, match=r"c\.csv"):
        data.files_of(tmp_path / "*.csv", ["c.csv"])
    with pytest.raises(UsageError, match="not both"):
        data.read_file(Data(name="x", file=tmp_path / "a.csv", sentiment="s", labels=tmp_path / "l"), Counter())


def test_a_second_opinion_takes_weight_from_the_rows_it_contradicts(tmp_path: Path) -> None:
    texts = {
        "Tarn Savings to be wound up": "negative",
        "Elmet opens a plant": "positive",
        "Kestrel sets a date": "neutral",
    }
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *(f"{text},neutral" for text in texts)]), encoding="utf-8")
    lines = [f"{data.text_hash(text)},{label}" for text, label in texts.items()]
    (tmp_path / "second").write_text("\n".join(["sha1,label", *lines]), encoding="utf-8")
    source = Data(
        name="x",
        file=tmp_path / "a.csv",
        sentiment="label",
        weight=2.0,
        second=tmp_path / "second",
        doubt={Sentiment.POSITIVE: 0.5},
    )
    counts: Counter[str] = Counter()
    rows = data.read_file(source, counts)
    assert [(row.text, row.sentiment, row.weight) for row in rows] == [
        ("Elmet opens a plant", "neutral", 1.0),
        ("Kestrel sets a date", "neutral", 2.0),
    ]
    assert counts["contradicted"] == 2
    corrected = source.model_copy(update={"relabel": (Sentiment.NEGATIVE,)})
    assert [(row.text, row.sentiment, row.weight) for row in data.read_file(corrected, Counter())] == [
        ("Tarn Savings to be wound up", "negative", 2.0),
        ("Elmet opens a plant", "neutral", 1.0),
        ("Kestrel sets a date", "neutral", 2.0),
    ]


def test_the_recipe_names_the_rows_that_the_bundled_classifier_learned_from(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = Path(__file__).resolve().parents[3]
    monkeypatch.chdir(checkout)
    package = checkout / "src" / "sentiment_monitor"
    manifest = json.loads((package / "score" / "bundled" / "manifest.json").read_text(encoding="utf-8"))
    assert data.build(read(package / "train" / "bundled.toml")).fingerprint == manifest["data"]["fingerprint"]


def test_a_label_file_that_says_two_things_of_one_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("sha1,label\nab,negative\nAB,negative\n", encoding="utf-8")
    assert data.read_label_file(path) == {"ab": "negative"}
    path.write_text("sha1,label\nab,negative\nab,positive\n", encoding="utf-8")
    with pytest.raises(UsageError, match="ab is labelled negative and positive"):
        data.read_label_file(path)


@pytest.mark.parametrize("cell", ["neg", "NEG", "Negative", "bearish"])
def test_short_names_of_sentiments_are_understood(tmp_path: Path, cell: str) -> None:
    assert data.sentiment_label(cell, {}, tmp_path) == "negative"
