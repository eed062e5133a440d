"""``manifest.json`` of a classifier directory: what it must hold, byte for byte, and how its logits are read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sentiment_monitor.domain.news import SENTIMENTS
from sentiment_monitor.errors import ClassifierError

FILE = "manifest.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Golden:
    """A text with the fp32 scores it had when the classifier was made."""

    headline: str
    negative: float
    neutral: float
    positive: float
    topic: str | None = None
    body: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The part of the manifest that serving reads; ``facts`` is all of it."""

    name: str
    labels: tuple[str, ...]
    languages: tuple[str, ...]
    temperatures: dict[str, float]  # group -> temperature, > 0
    thresholds: dict[str, float]  # sentiment -> probability from which it wins; a missing one: by argmax
    thresholds_with_body: dict[str, float]  # the same where a body is read beside the headline
    golden: tuple[Golden, ...]
    facts: dict[str, Any] = field(default_factory=dict)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def list_files(directory: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below ``directory`` but the manifest, by relative name."""
    return {
        path.relative_to(directory).as_posix(): sha256(path)
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != FILE and "__pycache__" not in path.parts
    }


def write(directory: Path, facts: dict[str, Any]) -> None:
    """Write the manifest of ``directory`` with the digests of the files that lie there now."""
    complete = {"format": FORMAT, **facts, "files": list_files(directory)}
    temporary = directory / f".{FILE}.part"
    temporary.write_text(json.dumps(complete, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(directory / FILE)


def read(directory: Path) -> Manifest | None:
    """Return the verified manifest, None where there is none.

    Raises ClassifierError when a listed file is missing or differs, an unlisted file lies beside it, or the manifest
    itself makes no sense.
    """
    path = directory / FILE
    if not path.exists():
        return None
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise ClassifierError(f"{path}: format {facts['format']!r}, this version reads {FORMAT}")
        listed = dict(facts["files"])
        manifest = Manifest(
            name=str(facts["name"]),
            labels=tuple(str(label) for label in facts["labels"]),
            languages=tuple(str(language) for language in facts["languages"]),
            temperatures={str(group): float(value) for group, value in facts["temperatures"].items()},
            thresholds=_thresholds(facts.get("thresholds")),
            thresholds_with_body=_thresholds(facts.get("thresholds_with_body") or facts.get("thresholds")),
            golden=tuple(Golden(**golden) for golden in facts["golden"]),
            facts=facts,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ClassifierError(f"{path}: not a valid manifest ({type(error).__name__}: {error})") from error
    if not all(value > 0 for value in manifest.temperatures.values()):
        raise ClassifierError(f"{path}: a temperature is not positive")
    for chosen in (manifest.thresholds, manifest.thresholds_with_body):
        if not set(chosen) <= set(SENTIMENTS) or not all(0 < value <= 1 for value in chosen.values()):
            raise ClassifierError(f"{path}: thresholds must be probabilities of negative, neutral or positive")
    _compare(directory, listed)
    return manifest


def _thresholds(facts: dict[str, Any] | None) -> dict[str, float]:
    return {str(label): float(value) for label, value in (facts or {}).items() if value is not None}


def _compare(directory: Path, listed: dict[str, str]) -> None:
    present = list_files(directory)
    for name, digest in listed.items():
        if name not in present:
            raise ClassifierError(f"{directory}: {name} is missing, the manifest lists it")
        if present[name] != digest:
            raise ClassifierError(f"{directory}: {name} does not match the manifest: changed or damaged")
    extra = sorted(set(present) - set(listed))
    if extra:
        raise ClassifierError(f"{directory}: {extra[0]} is not in the manifest")
