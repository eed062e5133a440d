"""However hostile a record is, it costs no more than its length says: searched for, not enumerated."""

from __future__ import annotations

import re
from functools import partial
from random import Random
from unicodedata import normalize

import pytest
from growth import Make, Work, grows_faster_than_its_input, undisturbed
from hostile_texts import FORMS, KNOWN, RAW, Family, alone, message, together
from stages import MAPPED_FIELDS, Stages

TEXTS = ("clean", "watchlist", "cashtags", "language", "publisher", "copy keys", "comparison", "windows", "word list",
         "instants")  # fmt: skip
SIZE = 1_000  # bytes, and eight times as many: a square then costs milliseconds


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    return Stages(tmp_path_factory.mktemp("stages"))


def _steep(inputs: dict[str, Make], size: int = SIZE) -> list[str]:
    with undisturbed():
        return [name for name, make in inputs.items() if grows_faster_than_its_input(make, size)]


def _text_of(make: object, family: Family, size: int) -> Work:
    assert callable(make)
    work: Work = make(family.characters(size))
    return work


def test_every_stage_that_reads_text_is_searched(stages: Stages) -> None:
    assert set(TEXTS) == set(stages.texts)


@pytest.mark.parametrize("path", TEXTS)
def test_the_time_of_a_text_grows_with_its_length_and_no_faster(stages: Stages, path: str) -> None:
    draw = Random(path)
    families = [*KNOWN, *draw.sample(list(alone()), 80), *together(draw, 80)]
    assert _steep({family.name: partial(_text_of, stages.texts[path].make, family) for family in families}) == []


@pytest.mark.parametrize("path", ["decode", "decode, mapped"])
def test_the_time_of_a_message_grows_with_its_length_and_no_faster(stages: Stages, path: str) -> None:
    decode, draw = stages.decoders[path], Random(path)
    forms = [(form, field) for form in FORMS for field in draw.sample(MAPPED_FIELDS, 3)]
    inputs: dict[str, Make] = {
        f"{field} is: {form}": lambda size, form=form, field=field: decode(message(form, field, size))  # type: ignore[misc]
        for form, field in forms
    }
    inputs |= {raw: lambda size, raw=raw: decode(RAW[raw](size)) for raw in RAW}  # type: ignore[misc]
    assert _steep(inputs) == []


def test_the_search_sees_what_grows_with_the_square() -> None:
    number = re.compile(r"\d+$")

    def digits(size: int) -> Work:
        return partial(number.search, "9" * size + "x")

    def marks(size: int) -> Work:
        return partial(normalize, "NFKC", "a" + "\u0300" * size + "\u0316" * size)

    def letters(size: int) -> Work:
        return partial(normalize, "NFKC", "é" * size)

    assert _steep({"digits": digits, "marks": marks, "letters": letters}, 150) == ["digits", "marks"]
