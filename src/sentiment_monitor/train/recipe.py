"""Settings of one training run: a validated tree, read from TOML or made for plain files."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sentiment_monitor.domain.news import Sentiment
from sentiment_monitor.errors import UsageError
from sentiment_monitor.tables import columns_of

TEXT_COLUMNS = ("text", "title", "headline")
LABEL_COLUMNS = ("sentiment", "label_name", "label")

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(_Strict):
    """One labelled file. A row may carry a sentiment, a topic, or both; the missing one is masked in the loss."""

    name: str
    file: Path  # relative to the working directory; * and ? in its last part match several
    without: tuple[str, ...] = ()  # names of files that the pattern matches and that are not learned from
    text: str = "text"
    sentiment: str | None = None
    labels: Path | None = None  # instead of sentiment: file with sha1 (of the text cell) and label, of some rows
    second: Path | None = None  # label file with a second opinion on some rows
    doubt: dict[Sentiment, Share] = {}  # second opinion -> weight of the rows it contradicts; 0 where not given
    relabel: tuple[Sentiment, ...] = ()  # second opinions that replace the label they contradict
    topic: str | None = None
    map: dict[str, str] = {}  # cell -> label, compared without case; unmapped cells stand for themselves
    keep: dict[str, Share] = {}  # label -> share of its rows kept, chosen by hash so that runs agree
    weight: Positive = 1.0  # of each row in the loss
    pair: str | None = None  # column whose equal values never part between train and held-out
    held_out: Share = 0.0  # share of rows, by hash, that training never sees
    licence: str = "unknown"


class HeldOut(_Strict):
    """A file used only to measure. Training drops every text that recurs in it."""

    name: str
    file: Path
    text: str = "text"
    body: str | None = None  # column of a text that is scored together with the headline
    sentiment: str | None = None
    labels: Path | None = None
    topic: str | None = None
    map: dict[str, str] = {}
    minus: str | None = None  # name of a data file whose texts are left out of the measurement


class Recipe(_Strict):
    """Everything that decides the outcome of a run, next to the files themselves."""

    base: Path | None = None  # directory of the encoder; the command line may give it
    base_name: str = ""  # for the model card, with its licence
    base_licence: str = "unknown"
    base_notice: str = ""  # what the licence of the base asks to be repeated
    name: str = "classifier"
    languages: tuple[str, ...] = ("en",)
    seed: int = 20230309  # of the head's first weights, dropout and the order of rows
    split_seed: int = 20230309  # which rows are held out: the same for runs that differ in seed
    epochs: Positive = 3.0  # of every member
    # Runs whose last weights are averaged. One alone keeps its best checkpoint, as patience says. Member n draws from
    # seed + n, so recipes whose seeds are nearer than their members are many share members.
    members: Annotated[int, Field(ge=1)] = 1
    batch: Annotated[int, Field(ge=1)] = 32
    learning_rate: Positive = 1e-4
    warmup: Share = 0.1  # share of all steps
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.01
    smoothing: Share = 0.05
    topic_weight: Annotated[float, Field(ge=0.0)] = 1.0  # of the topic loss; the sentiment loss counts 1
    max_tokens: Annotated[int, Field(ge=8, le=512)] = 64
    development: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.05  # share for early stopping and calibration
    patience: Annotated[int, Field(ge=1)] = 3  # evaluations without a better macro-F1
    evaluations_per_epoch: Annotated[int, Field(ge=1)] = 2
    threads: Annotated[int, Field(ge=0)] = 0  # 0: what the cgroup allows
    freeze_embeddings: bool = False  # of words: their vectors stay those of the base
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1  # between layers
    attention_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    thresholds_from: str | None = None  # held-out set that decides from which probability on a label wins
    thresholds_with_body_from: str | None = None  # the same for headlines read with their bodies; else as for headlines
    calibrate_on: str | None = None  # held-out set whose headlines set the sentiments' temperature, by half
    precision: Share = 0.8  # which the thresholds for negative must keep on their sets
    known_failures: tuple[str, ...] = ()  # for the model card: what to tell who uses it
    data: tuple[Data, ...] = ()
    held_out: tuple[HeldOut, ...] = ()


def read(path: Path) -> Recipe:
    """Read a recipe from TOML; UsageError names the wrong key."""
    try:
        with path.open("rb") as stream:
            return Recipe.model_validate(tomllib.load(stream))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}") from error
    except ValidationError as error:
        raise UsageError(f"{path}: {_first(error)}") from error


def changed(recipe: Recipe, **changes: Any) -> Recipe:
    """Return ``recipe`` with other values; UsageError for a value out of bounds."""
    try:
        return Recipe.model_validate(recipe.model_dump() | changes)
    except ValidationError as error:
        raise UsageError(_first(error)) from error


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"


def for_files(files: Sequence[Path]) -> Recipe:
    """Return a recipe for plain files: columns found by their usual names, a tenth of each held out."""
    names = [path.stem for path in files]
    return Recipe(
        data=tuple(
            _detect(path, path.stem if names.count(path.stem) == 1 else f"{path.stem}-{number}")
            for number, path in enumerate(files, start=1)
        )
    )


def _detect(path: Path, name: str) -> Data:
    columns = columns_of(path)
    lower = {column.lower(): column for column in columns}
    text = next((lower[name] for name in TEXT_COLUMNS if name in lower), None)
    label = next((lower[name] for name in LABEL_COLUMNS if name in lower), None)
    topic = lower.get("topic")
    if text is None or (label is None and topic is None):
        raise UsageError(
            f"{path}: needs a text column ({', '.join(TEXT_COLUMNS)}) and a label column "
            f"({', '.join(LABEL_COLUMNS)}, topic); its columns are: {', '.join(columns)}"
        )
    return Data(
        name=name,
        file=path,
        text=text,
        sentiment=label,
        topic=topic,
        pair="pair" if "pair" in lower else None,
        held_out=0.1,
    )
