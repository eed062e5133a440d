"""The loss, and one whole run on a tiny encoder."""

import json
from pathlib import Path

import pytest

from sentiment_monitor.domain.news import Text
from sentiment_monitor.errors import UsageError
from sentiment_monitor.score import load
from sentiment_monitor.train import retrain
from sentiment_monitor.train.data import Row
from sentiment_monitor.train.recipe import HeldOut, Recipe, changed, for_files

GOOD, BAD, FLAT = ("gains", "beats", "wins"), ("loss", "fraud", "cuts"), ("meets", "names", "files")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer encoder with a word vocabulary, no head."""
    import torch
    from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordPiece
    from transformers import BertConfig, BertModel

    directory = tmp_path_factory.mktemp("base")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *GOOD, *BAD, *FLAT, *(f"co{n}" for n in range(40))]
    tokenizer = Tokenizer(WordPiece({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(directory / "tokenizer.json"))
    torch.manual_seed(1)
    BertModel(
        BertConfig(
            vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
        )
    ).save_pretrained(directory)
    return directory


def test_a_masked_group_adds_nothing_and_gets_no_gradient() -> None:
    import torch

    from sentiment_monitor.train.fit import MASKED, grouped_loss

    logits = torch.randn(3, 5, requires_grad=True)
    labels = torch.tensor([[0, MASKED], [2, MASKED], [1, MASKED]])
    grouped_loss(logits, labels, torch.ones(3), 0.05, 1.0).backward()
    assert logits.grad is not None
    assert logits.grad[:, :3].abs().sum() > 0
    assert logits.grad[:, 3:].abs().sum() == 0


def test_weight_scales_a_row_and_an_unlabelled_batch_costs_nothing() -> None:
    import torch

    from sentiment_monitor.train.fit import MASKED, grouped_loss

    logits = torch.randn(2, 5)
    labels = torch.tensor([[0, 1], [1, 0]])
    double = grouped_loss(logits, labels, torch.full((2,), 2.0), 0.0, 1.0)
    assert double == pytest.approx(2 * float(grouped_loss(logits, labels, torch.ones(2), 0.0, 1.0)))
    assert grouped_loss(logits, torch.full((2, 2), MASKED), torch.ones(2), 0.1, 1.0) == 0


def test_a_run_makes_a_sealed_classifier_that_learned(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        json.dumps({"text": f"co{n} {word} {other}", "sentiment": label, "topic": topic})
        for n in range(40)
        for label, words, topic in (("positive", GOOD, "earnings"), ("negative", BAD, "legal"), ("neutral", FLAT, None))
        for word in words
        for other in words[:2]
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    stories = [
        f"story{n} {word},news {word},{label}"
        for n in range(30)
        for label, word in (("positive", "gains"), ("negative", "loss"), ("neutral", "meets"))
    ]
    (tmp_path / "stories.csv").write_text("\n".join(["text,body,label", *stories]), encoding="utf-8")
    recipe = for_files([tmp_path / "rows.jsonl"]).model_copy(
        update={
            "learning_rate": 3e-3,
            "epochs": 2.0,
            "development": 0.1,
            "name": "toy",
            "threads": 1,
            "thresholds_from": "rows",
            "thresholds_with_body_from": "stories",
            "held_out": (HeldOut(name="stories", file=tmp_path / "stories.csv", body="body", sentiment="label"),),
        }
    )
    phases: set[str] = set()
    facts = retrain.run(
        recipe, tmp_path / "out", command="a test", base=base, progress=lambda phase, *_: phases.add(phase)
    )
    assert phases == {"data", "train", "measure"}
    assert capsys.readouterr().out == ""  # where the answer of --json goes
    assert facts["metrics"]["rows"]["classifier"]["sentiment"]["accuracy"] > 0.9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "rows.jsonl", "stories.csv"]
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    for chosen, where in (("thresholds", "rows"), ("thresholds_with_body", "stories")):
        assert set(facts[chosen]) == {"negative", "positive"}
        assert all(half["recall"] > 0.5 and half["n"] > 10 for half in facts[f"{chosen}_across_halves"])
        assert f"Chosen on one half of `{where}`" in card
    assert "a test" in card
    classifier = load(str(tmp_path / "out"), engine="torch")
    assert classifier.id.startswith("out@")
    assert classifier.score([Text("co1 fraud loss")])[0].label == "negative"
    assert classifier.topics == ("earnings", "legal")
    classifier.close()
    with pytest.raises(UsageError, match="exists"):
        retrain.run(recipe, tmp_path / "out", command="", base=base)


def test_a_base_that_is_no_encoder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nx,neutral\n", encoding="utf-8")
    with pytest.raises(UsageError, match="no base encoder"):
        retrain.run(for_files([tmp_path / "a.csv"]), tmp_path / "out", command="", base=tmp_path)


def test_frozen_word_vectors_stay_those_of_the_base(base: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    from sentiment_monitor.train.fit import fit

    rows = [Row(f"co{n} {word}", f"co{n} {word}", sentiment="negative") for n in range(8) for word in BAD]
    recipe = Recipe(epochs=1.0, batch=8, freeze_embeddings=True, threads=1, learning_rate=1e-2)
    fit(recipe, base, rows, rows[:4], tmp_path, lambda *_: None)
    before, after = load_file(base / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    word = "embeddings.word_embeddings.weight"
    assert (before[word] == after[f"bert.{word}"]).all()
    query = "encoder.layer.0.attention.self.query.weight"
    assert (before[query] != after[f"bert.{query}"]).any()


def test_the_weights_of_members_are_averaged(base: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    from sentiment_monitor.train import fit

    rows = [Row(f"co{n} {word}", f"co{n} {word}", sentiment="negative") for n in range(8) for word in BAD]
    recipe = Recipe(epochs=2.0, members=2, batch=8, threads=1, learning_rate=1e-2)
    steps: list[tuple[int, int]] = []
    kept: list[dict[str, torch.Tensor]] = []
    train = fit._Run.train

    def noted(self: fit._Run, seed: int) -> None:
        kept.append({name: weight.clone() for name, weight in self.model.state_dict().items()})
        train(self, seed)
        kept.append({name: weight.clone() for name, weight in self.model.state_dict().items()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit._Run, "train", noted)
        fit.fit(recipe, base, rows, rows[:4], tmp_path, lambda _, done, total: steps.append((done, total)))
    start, one, again, other = kept
    for name, weight in load_file(tmp_path / "model.safetensors").items():
        assert torch.equal(start[name], again[name]), name
        assert torch.allclose(weight, (one[name] + other[name]) / 2, atol=1e-6), name
    query = "bert.encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(one[query], other[query])
    whole = 2 * 2 * len(rows) // 8
    assert steps == [(n, whole) for n in range(1, whole + 1)]


def test_a_setting_out_of_bounds_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="members: Input should be greater than or equal to 1"):
        changed(Recipe(), members=0)


def test_thresholds_with_body_need_bodies(base: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n" + "\n".join(f"co{n} gains,positive" for n in range(60)), "utf-8")
    recipe = for_files([tmp_path / "a.csv"]).model_copy(update={"thresholds_with_body_from": "a"})
    with pytest.raises(UsageError, match="a is no held-out set with sentiments and bodies"):
        retrain.run(recipe, tmp_path / "out", command="", base=base)


@pytest.mark.parametrize("key", ["thresholds_from", "thresholds_with_body_from", "calibrate_on"])
def test_tuning_on_no_held_out_set_is_refused_before_the_training(key: str, base: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n" + "\n".join(f"co{n} gains,positive" for n in range(60)), "utf-8")
    recipe = for_files([tmp_path / "a.csv"]).model_copy(update={key: "b"})
    phases: set[str] = set()
    with pytest.raises(UsageError, match=f"{key}: b is no held-out set"):
        retrain.run(recipe, tmp_path / "out", command="", base=base, progress=lambda phase, *_: phases.add(phase))
    assert phases == set()


def test_the_set_to_calibrate_on_has_half_a_say_in_the_sentiments_alone(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        f"co{n} {word},{label}" for n in range(40) for word, label in (("gains", "positive"), ("loss", "negative"))
    ]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *lines]), "utf-8")
    asked = iter([{"sentiment": 1.0, "topic": 3.0}, {"sentiment": 4.0, "topic": 5.0}])
    monkeypatch.setattr(retrain, "calibrate", lambda *_: next(asked))
    recipe = for_files([tmp_path / "rows.csv"]).model_copy(
        update={"epochs": 1.0, "threads": 1, "development": 0.2, "calibrate_on": "rows"}
    )
    facts = retrain.run(recipe, tmp_path / "out", command="", base=base)
    assert facts["temperatures"] == {"sentiment": 2.0, "topic": 3.0}
    assert "in part fitted on `rows`" in (tmp_path / "out" / "README.md").read_text("utf-8")
