"""Labelled rows: cleaned, without duplicates and conflicts, split so that no text leaks. Every step is counted."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sentiment_monitor.domain.news import SENTIMENTS, Sentiment
from sentiment_monitor.errors import UsageError
from sentiment_monitor.score.checkpoint import SYNONYMS
from sentiment_monitor.score.text import clean
from sentiment_monitor.tables import read_cells
from sentiment_monitor.train.recipe import Data, HeldOut, Recipe

_WORDS = re.compile(r"\w+")
# Names of the public topic set that are not ours with other punctuation.
_TOPIC_SYNONYMS = {
    "fed | central banks": "central_banks",
    "company | product news": "company_product",
    "treasuries | corporate debt": "corporate_debt",
    "energy | oil": "energy",
    "general news | opinion": "general_news",
    "gold | metals | materials": "metals_materials",
    "legal | regulation": "legal_regulation",
    "m&a | investments": "mergers_investments",
}
_TOPIC_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled text. ``key`` is the normalised text, ``pair`` ties rows that must stay on one side of a split."""

    text: str
    key: str
    sentiment: str | None = None
    topic: str | None = None
    weight: float = 1.0
    pair: str | None = None
    origin: str = ""
    body: str = ""  # of held-out rows only: training reads headlines


@dataclass(frozen=True, slots=True)
class Split:
    """What a run learns from, what it stops and calibrates on, and what only measures it."""

    train: tuple[Row, ...]
    development: tuple[Row, ...]
    held_out: dict[str, tuple[Row, ...]]
    report: dict[str, dict[str, int]] = field(default_factory=dict)  # file -> step -> rows
    fingerprint: str = ""  # SHA-256 over the training and development rows


def normalise(text: str) -> str:
    """Return the form in which two texts count as the same: words only, no case, links or punctuation."""
    return " ".join(_WORDS.findall(clean(text).casefold()))


def build(recipe: Recipe) -> Split:
    """Read every file of ``recipe`` and split it. UsageError when a file is wrong or nothing is left to train on.

    Order: clean, map labels, drop empty; drop what recurs in a held-out file; merge equal texts (one sentiment and one
    topic label each, contradictory labels dropped); choose held-out and development rows by hash of text or pair;
    thin labels as ``keep`` says. Equal normalised texts are on one side only, and so are members of a pair.
    """
    if not recipe.data:
        raise UsageError("no data files to train on")
    report: dict[str, Counter[str]] = defaultdict(Counter)
    rows = {data.name: read_file(data, report[data.name]) for data in recipe.data}
    held_out = {data.name: _measured(data, rows, report[data.name]) for data in recipe.held_out}
    kept_back = {row.key for data in recipe.held_out for row in read_file(data, Counter())}
    pool: list[Row] = []
    for name, file_rows in rows.items():
        fresh = [row for row in file_rows if row.key not in kept_back]
        report[name]["recurs_in_held_out"] = len(file_rows) - len(fresh)
        pool.extend(fresh)
    merged = merge(pool, report)
    groups = tie(pool)
    share = {data.name: data.held_out for data in recipe.data}
    keep = {data.name: data.keep for data in recipe.data}
    train: list[Row] = []
    development: list[Row] = []
    measured: dict[str, list[Row]] = defaultdict(list)
    for row in merged:
        group = groups[row.key]
        if fraction(f"{recipe.split_seed}:held_out:{group}") < share[row.origin]:
            measured[row.origin].append(row)
            report[row.origin]["held_out"] += 1
            continue
        if row.sentiment and fraction(f"{recipe.split_seed}:keep:{row.key}") >= keep[row.origin].get(
            row.sentiment, 1.0
        ):
            row = replace(row, sentiment=None)
            report[row.origin]["thinned"] += 1
            if row.topic is None:
                continue
        target = development if fraction(f"{recipe.split_seed}:development:{group}") < recipe.development else train
        report[row.origin]["development" if target is development else "train"] += 1
        target.append(row)
    if not train or not development:
        raise UsageError(f"{len(merged)} usable rows are too few to train on: give more labelled text")
    return Split(
        train=tuple(train),
        development=tuple(development),
        held_out={**{name: tuple(kept) for name, kept in measured.items()}, **held_out},
        report={name: dict(counts) for name, counts in report.items()},
        fingerprint=_fingerprint([*train, *development]),
    )


def read_file(source: Data | HeldOut, counts: Counter[str]) -> list[Row]:
    """Return the usable rows of one source; UsageError for a sentiment or topic name that cannot be one."""
    if source.sentiment and source.labels:
        raise UsageError(f"{source.name}: give a sentiment column or a label file, not both")
    body = source.body if isinstance(source, HeldOut) else None
    columns = [name for name in (source.sentiment, source.topic, body) if name]
    if not (source.sentiment or source.topic or source.labels):
        raise UsageError(f"{source.file}: neither a sentiment nor a topic column nor a label file is named")
    mapping = {cell.casefold(): label for cell, label in source.map.items()}
    given = read_label_file(source.labels) if source.labels else {}
    second, doubt, pair, weight = {}, {}, None, 1.0
    without: tuple[str, ...] = ()
    relabel: tuple[Sentiment, ...] = ()
    if isinstance(source, Data):
        second = read_label_file(source.second) if source.second else {}
        doubt, relabel = source.doubt, source.relabel
        pair, weight, without = source.pair, source.weight, source.without
    rows = []
    for file in files_of(source.file, without):
        for cells in read_cells(file, [source.text, *columns]):
            counts["read"] += 1
            text = clean(cells[source.text])
            key, digest = normalise(text), text_hash(cells[source.text])
            sentiment = sentiment_label(cells[source.sentiment], mapping, file) if source.sentiment else None
            if given:
                sentiment = given.pop(digest, None)
            trust = 1.0
            if sentiment and (opinion := second.get(digest, sentiment)) != sentiment:
                counts["contradicted"] += 1
                if opinion in relabel:
                    sentiment = opinion
                else:
                    trust = doubt.get(Sentiment(opinion), 0.0)
            sentiment = sentiment if trust else None
            topic = topic_label(cells[source.topic], mapping, file) if source.topic else None
            if not key or not (sentiment or topic):
                counts["empty"] += 1
                continue
            tie = f"{source.name}:{cells[pair]}" if pair and cells.get(pair) else None
            more = clean(cells[body]) if body else ""
            rows.append(Row(text, key, sentiment, topic, weight * (trust or 1.0), tie, source.name, more))
    return rows


def files_of(pattern: Path, without: Sequence[str] = ()) -> list[Path]:
    """Return the files that match ``pattern``, sorted; the pattern itself when it names one file.

    Raises UsageError when there are none, or when a name of ``without`` is not among those of a pattern.
    """
    if not set("*?") & set(pattern.name):
        if without:
            raise UsageError(f"{pattern}: names one file; there is nothing to leave out")
        return [pattern]
    files = {path.name: path for path in sorted(pattern.parent.glob(pattern.name))}
    for name in without:
        if files.pop(name, None) is None:
            raise UsageError(f"{pattern}: {name}, which is to be left out, does not match")
    if not files:
        raise UsageError(f"{pattern}: no such file")
    return list(files.values())


def text_hash(cell: str) -> str:
    """Return the SHA-1 by which a label file names a text: of the cell's UTF-8 bytes, hexadecimal."""
    return hashlib.sha1(cell.encode(), usedforsecurity=False).hexdigest()


def read_label_file(path: Path) -> dict[str, str]:
    """Return sentiment by ``text_hash`` from a file with the columns ``sha1`` and ``label``.

    Raises UsageError for a text with two labels.
    """
    labels: dict[str, str] = {}
    for cells in read_cells(path, ["sha1", "label"]):
        if label := sentiment_label(cells["label"], {}, path):
            digest = cells["sha1"].strip().lower()
            if labels.setdefault(digest, label) != label:
                raise UsageError(f"{path}: {digest} is labelled {labels[digest]} and {label}")
    return labels


def merge(rows: Iterable[Row], report: dict[str, Counter[str]]) -> list[Row]:
    """Return one row per normalised text, first come first, without labels on which its copies disagree."""
    copies: dict[str, list[Row]] = {}
    for row in rows:
        copies.setdefault(row.key, []).append(row)
    merged = []
    for same in copies.values():
        first = same[0]
        for row in same[1:]:
            report[row.origin]["duplicate"] += 1
        sentiments = {row.sentiment for row in same if row.sentiment}
        topics = {row.topic for row in same if row.topic}
        report[first.origin]["conflict"] += (len(sentiments) > 1) + (len(topics) > 1)
        sentiment = sentiments.pop() if len(sentiments) == 1 else None
        topic = topics.pop() if len(topics) == 1 else None
        if sentiment or topic:
            pair = next((row.pair for row in same if row.pair), None)
            merged.append(replace(first, sentiment=sentiment, topic=topic, pair=pair))
    return merged


def fraction(name: str) -> float:
    """Return a number in [0, 1) that depends on ``name`` only: the split survives rows added or reordered."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


def _measured(source: HeldOut, rows: dict[str, list[Row]], counts: Counter[str]) -> tuple[Row, ...]:
    if source.minus is not None and source.minus not in rows:
        raise UsageError(f"held-out {source.name}: minus names no data file: {source.minus}")
    known = {row.key for row in rows[source.minus]} if source.minus else set()
    kept = tuple(row for row in read_file(source, counts) if row.key not in known)
    counts["recurs_in_train"] = counts["read"] - counts["empty"] - len(kept)
    counts["held_out"] = len(kept)
    return kept


def tie(rows: Iterable[Row]) -> dict[str, str]:
    """Return the group of each text: texts tied by a pair, directly or through others, share one."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while (above := parent.setdefault(name, name)) != name:
            parent[name] = parent[above]
            name = above
        return name

    keys = []
    for row in rows:
        keys.append(row.key)
        if row.pair:
            ends = sorted((root(row.key), root(f"pair {row.pair}")))
            parent[ends[1]] = ends[0]
    return {key: root(key) for key in keys}


def sentiment_label(cell: str, mapping: Mapping[str, str], file: Path) -> str | None:
    """Return the sentiment a cell names, None when empty; ``mapping`` has case-folded keys. UsageError otherwise."""
    label = mapping.get(cell.strip().casefold(), cell.strip()).casefold()
    label = SYNONYMS.get(label, label)
    if label and label not in SENTIMENTS:
        raise UsageError(f"{file}: sentiment {cell!r} is not one of {', '.join(SENTIMENTS)}; map it (0=negative)")
    return label or None


def topic_label(cell: str, mapping: Mapping[str, str], file: Path) -> str | None:
    """Return the topic a cell names (``Stock Movement`` is ``stock_movement``), None when empty."""
    label = mapping.get(cell.strip().casefold(), cell.strip()).casefold()
    label = _TOPIC_SYNONYMS.get(label, label.replace(" ", "_"))
    if label and not _TOPIC_NAME.fullmatch(label):
        raise UsageError(f"{file}: topic {cell!r} is no plain name (a-z, 0-9, _); map it ({cell}=some_name)")
    return label or None


def _fingerprint(rows: Iterable[Row]) -> str:
    digest = hashlib.sha256()
    for line in sorted(f"{row.text}\t{row.sentiment}\t{row.topic}\t{row.weight}\n" for row in rows):
        digest.update(line.encode())
    return digest.hexdigest()
