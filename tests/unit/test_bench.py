"""The benchmark's workings on a tiny network. That something is fast is measured, never asserted here."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sentiment_monitor.bench import limit, race, report, texts
from sentiment_monitor.bench.cycles import CycleCounter
from sentiment_monitor.bench.worker import peak_mb
from sentiment_monitor.domain.news import Sentiment
from sentiment_monitor.errors import ClassifierError, UsageError
from sentiment_monitor.score.openvino_engine import probe_file

LABELS = ("sentiment/negative", "sentiment/neutral", "sentiment/positive", "topic/earnings")
HIDDEN, INNER = 32, 64
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789$%.,;'-"
RUN_FIELDS = {
    "name", "stories_per_s", "p50_ms", "p99_ms", "cpu_s_per_story", "cycles_per_story", "peak_mb", "label_agreement",
    "accuracy", "macro_f1",
}  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of two tiny layers that spells every word; made without torch, which only the runs need."""
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordPiece

    directory = tmp_path_factory.mktemp("tiny")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    tokenizer = Tokenizer(WordPiece({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(directory / "tokenizer.json"))
    config = {
        "architectures": ["BertForSequenceClassification"], "model_type": "bert", "vocab_size": len(words),
        "hidden_size": HIDDEN, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": INNER,
        "max_position_embeddings": 512, "type_vocab_size": 2, "id2label": dict(enumerate(LABELS)),
        "label2id": {label: number for number, label in enumerate(LABELS)},
    }  # fmt: skip
    (directory / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(_weights(len(words)), directory / "model.safetensors", {"format": "pt"})
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "model_max_length": 512}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return directory


def _weights(words: int) -> dict[str, NDArray[np.float32]]:
    draw = np.random.default_rng(7)
    embeddings, layer = "bert.embeddings", "bert.encoder.layer"
    tables = {f"{embeddings}.word": words, f"{embeddings}.position": 512, f"{embeddings}.token_type": 2}
    shapes = {f"{name}_embeddings.weight": (rows, HIDDEN) for name, rows in tables.items()}
    linear = {"bert.pooler.dense": (HIDDEN, HIDDEN), "classifier": (len(LABELS), HIDDEN)}
    norms = [f"{embeddings}.LayerNorm"]
    for number in range(2):
        for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            linear[f"{layer}.{number}.{name}"] = (HIDDEN, HIDDEN)
        linear[f"{layer}.{number}.intermediate.dense"] = (INNER, HIDDEN)
        linear[f"{layer}.{number}.output.dense"] = (HIDDEN, INNER)
        norms += [f"{layer}.{number}.attention.output.LayerNorm", f"{layer}.{number}.output.LayerNorm"]
    shapes |= {f"{name}.weight": shape for name, shape in linear.items()}
    weights = {name: draw.normal(0, 0.6, shape) for name, shape in shapes.items()}
    weights |= {f"{name}.bias": np.zeros(rows) for name, (rows, _) in linear.items()}
    for name in norms:
        weights |= {f"{name}.weight": np.ones(HIDDEN), f"{name}.bias": np.zeros(HIDDEN)}
    return {name: values.astype(np.float32) for name, values in weights.items()}


def _sample(labels: bool = True) -> texts.Sample:
    some = tuple(f"bank {'fails' if number % 2 else 'opens'} branch {number}" for number in range(12))
    return texts.Sample(some, (Sentiment.NEUTRAL,) * 12 if labels else None, "made up")


def _run(name: str, rate: float) -> race.Run:
    return race.Run(name, rate, 1.0, 2.0, 1 / rate, None, 100.0, 0.99, None, None)


def _outcome(*runs: race.Run, **machine: Any) -> race.RaceOutcome:
    facts = {
        "texts": 12, "origin": "made up", "tokens_per_story": 31.0, "classifier": "tiny@0", "processor": "abacus",
        "threads": 2, "rounds": 3, "skipped": {}, "cycles": "no counters", "load_average": 0.1,
        "spread": {run.name: [run.stories_per_s * 0.9, run.stories_per_s * 1.1] for run in runs},
    }  # fmt: skip
    return race.RaceOutcome({**facts, **machine}, 100.0, 400.0, 0.5, runs)


def test_built_in_texts_are_lengthened_and_keep_their_labels() -> None:
    plain = [json.loads(line) for line in probe_file(("en",)).read_text(encoding="utf-8").splitlines()]
    sample = texts.built_in(50)
    assert sample.labels == tuple(row["sentiment"] for row in plain[:50])
    labels = {row["text"]: row["sentiment"] for row in plain}
    joined = 0
    for row, text, label in zip(plain, sample.texts, sample.labels or (), strict=False):
        if text != row["text"]:
            joined += 1
            assert labels[text.removeprefix(row["text"] + "; ")] == label
    assert joined == 30


def test_a_files_labels_are_mapped_and_an_unknown_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "news.csv"
    file.write_text("title,mood\nBank fails,0\n,0\nBank opens,2\nBank waits,1\n", encoding="utf-8")
    mapping = {"0": "negative", "2": "positive"}
    sample = texts.from_file(file, text_column="title", sentiment_column="mood", mapping=mapping, limit=2)
    assert sample.texts == ("Bank fails", "Bank opens")
    assert sample.labels == (Sentiment.NEGATIVE, Sentiment.POSITIVE)
    with pytest.raises(UsageError, match=r"label '1'.*--map 1="):
        texts.from_file(file, text_column="title", sentiment_column="mood", mapping=mapping, limit=9)
    with pytest.raises(UsageError, match="no column text"):
        texts.from_file(file, text_column="text", sentiment_column=None, mapping={}, limit=9)


def test_operations_are_those_of_the_matrix_products() -> None:
    # One layer, hidden 2, inner 3, 5 tokens: four 2x2 and two 2x3 products a token, and 5x5x2 twice.
    assert limit.operations(5, 1, 2, 3) == 2 * (5 * 4 * 2 * 2 + 5 * 2 * 2 * 3 + 2 * 5 * 5 * 2)


def test_cycles_are_counted_or_the_reason_is_said() -> None:
    counter = CycleCounter()
    assert (counter.read() is None) == bool(counter.reason)


def test_peak_memory_is_this_processes() -> None:
    assert 10 < peak_mb() < 1_000_000


def test_share_compares_int8_with_the_int8_peak_and_fp32_with_the_other() -> None:
    outcome = _outcome(_run("lexicon", 9_000), _run("pipeline", 50), _run("openvino", 400))
    assert [outcome.share(run) for run in outcome.runs] == [None, 0.25, 0.5]
    assert outcome.record()["limit"] == {"fp32_gops": 100.0, "int8_gops": 400.0, "share": 0.5}


def test_a_race_gives_every_run_its_figures(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whether ONNX Runtime is here or not, this test has none.
    monkeypatch.setattr(race.importlib.util, "find_spec", lambda name: None)  # type: ignore[attr-defined]
    steps: list[tuple[int, int]] = []
    outcome = race.race(
        _sample(),
        classifier=str(tiny),
        at="2026-11-23T18:00:00+00:00",
        rounds=1,
        seconds=0,
        singles=3,
        names=("lexicon", "pipeline", "onnxruntime", "no-such-run", "torch"),
        cache=tmp_path,
        progress=lambda done, total: steps.append((done, total)),
    )
    record = json.loads(json.dumps(outcome.record()))
    assert set(record) == {"machine", "limit", "runs"}
    assert set(record["limit"]) == {"fp32_gops", "int8_gops", "share"}
    assert [run["name"] for run in record["runs"]] == ["lexicon", "pipeline", "torch"]
    assert all(set(run) == RUN_FIELDS for run in record["runs"])
    assert all(run["stories_per_s"] > 0 and 0 < run["p50_ms"] <= run["p99_ms"] for run in record["runs"])
    # The same weights in fp32: the pipeline and our torch engine say the same.
    assert [run["label_agreement"] for run in record["runs"][1:]] == [1.0, 1.0]
    skipped = record["machine"]["skipped"]
    assert skipped.pop("onnxruntime") == "not installed: onnxruntime, onnx"
    assert list(skipped) == ["no-such-run"]
    assert "no-such-run" in skipped["no-such-run"]
    assert record["limit"]["fp32_gops"] > 0
    assert steps[-1] == (9, 9)


def test_without_true_labels_or_a_reference_nothing_is_said_of_agreement() -> None:
    answer = {"stories_per_s": 2.0, "cpu_s_per_story": 0.1, "cycles_per_story": None, "latencies_ms": [1], "peak_mb": 9}
    run = race._run("lexicon", [answer], ["neutral"] * 12, None, _sample(labels=False))
    assert (run.name, run.accuracy, run.macro_f1, run.label_agreement) == ("lexicon", None, None, None)


def test_a_classifier_without_a_network_is_refused() -> None:
    with pytest.raises(UsageError, match="neural"):
        race.race(_sample(), classifier="lexicon", at="now")
    with pytest.raises(ClassifierError):
        race.race(_sample(), classifier="/no/such/place", at="now")


def test_the_table_shows_gaps_and_warns_of_a_busy_machine(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = _outcome(_run("pipeline", 50), _run("openvino", 400), skipped={"onnxruntime": "not here"}, load_average=3)
    report.print_outcome(outcome, as_json=False)
    printed = capsys.readouterr().out
    for expected in ("8.0", "onnxruntime skipped: not here", "34,560,000 stories a day", "no counters", "repeat it"):
        assert expected in printed
    report.print_outcome(outcome, as_json=True)
    assert json.loads(capsys.readouterr().out)["runs"][1]["name"] == "openvino"


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="no matplotlib")
    file = tmp_path / "bench.png"
    report.check_plot(file)
    report.plot(_outcome(_run("pipeline", 50), _run("openvino", 400)), file)
    assert file.read_bytes().startswith(b"\x89PNG")


def test_a_picture_that_cannot_be_written_is_refused_before_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report.importlib.util, "find_spec", lambda name: object())  # type: ignore[attr-defined]
    for wrong in (tmp_path / "bench.svg", tmp_path / "no" / "bench.png"):
        with pytest.raises(UsageError, match="--plot"):
            report.check_plot(wrong)
    monkeypatch.setattr(report.importlib.util, "find_spec", lambda name: None)  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="matplotlib"):
        report.check_plot(tmp_path / "bench.png")


def test_options_that_describe_a_file_need_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sentiment_monitor import cli

    monkeypatch.setattr(sys, "argv", ["monitor", "bench", "--sentiment-column", "label"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert "--input" in capsys.readouterr().err
