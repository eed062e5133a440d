"""Looks for input that costs more than its length, in everything a record passes on its way to the database.

Texts are put together from pieces of every kind (hostile_texts.py), looked at quickly at two sizes, and what looks
steep or slow there, with all that was ever steep, is grown to the longest that reaches the stage of a record of a
megabyte. Messages whose form is hostile are grown to a megabyte, and batches of stories that resemble one another to a
thousand. Prints of each path, as it is finished, the steepest, the slowest and what is wrong, and exits 1 if one is
steeper than linear, or costs more than 250 ms of processor time.

python benchmarks/hostile.py --pairs 20000 --seed 7
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from random import Random

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads' time is not this thread's

from growth import Growth, Make, Work, cpu_seconds, grow, grows_faster_than_its_input, undisturbed
from hostile_texts import FORMS, KNOWN, RAW, Family, alone, message, story, together
from stages import BATCHES, MAPPED_FIELDS, RECORD_BYTES, Reader, Stages

SIZES = (RECORD_BYTES // 16, RECORD_BYTES // 4, RECORD_BYTES)
BATCH_SIZES = (125, 250, 500, 1_000)  # stories
QUICK = 1_000  # characters, and eight times as many
LIMIT_MS = 250.0
SLOWEST = 12  # of each path's quick looks that are grown although they look linear


def main() -> int:
    """The exit code."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pairs", type=int, default=3_000, help="pairs of pieces, drawn anew with each seed")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--only", default="", help="paths whose name has this in it")
    options.add_argument("--all", action="store_true", help="print every input that was grown")
    chosen = options.parse_args()
    print(f"load average {os.getloadavg()[0]:.2f}, seed {chosen.seed}")
    print(f"{'path':18} {'grown':>5}  {'exponent':>8}  {'most ms':>8}  input")
    grown, bad = 0, 0
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder, undisturbed():
        for growths in searched(Stages(Path(folder)), chosen):
            grown, bad = grown + len(growths), bad + len(wrong(growths))
            report(growths, everything=chosen.all)
    if bad:
        print(f"\n{bad} of {grown:,} are wrong")
        return 1
    print(f"\nall {grown:,} grow with their length, and none is above {LIMIT_MS:.0f} ms")
    return 0


def searched(stages: Stages, chosen: argparse.Namespace) -> Iterator[list[Growth]]:
    """Everything that was grown, path by path."""
    families = [*alone(), *together(Random(chosen.seed), chosen.pairs)]
    for path, reader in stages.texts.items():
        if chosen.only in path:
            yield list(grown_texts(path, reader, families))
    for path, own in groupby(inputs(stages), key=itemgetter(0)):
        if chosen.only in path:
            yield [grow(*growing) for growing in own]


def inputs(stages: Stages) -> Iterator[tuple[str, str, Sequence[int], Make]]:
    """Path, input, sizes and work of all that is grown without a quick look before."""
    for family in dict.fromkeys((*KNOWN, *alone())):
        yield "record", family.name, SIZES[-1:], partial(_record_of, stages, family)
    for path, decode in stages.decoders.items():
        for form in FORMS:
            for field in MAPPED_FIELDS:
                yield path, f"{field} is: {form}", SIZES, partial(_message_of, decode, form, field)
        for raw in RAW:
            yield path, f"value is: {raw}", SIZES, partial(_raw_of, decode, raw)
    for template in BATCHES:
        yield "batch of stories", template, BATCH_SIZES, partial(stages.batch, template)


def _record_of(stages: Stages, family: Family, size: int) -> Work:
    return stages.record(story(family.text(size), size))


def _message_of(decode: Callable[[bytes], Work], form: str, field: str, size: int) -> Work:
    return decode(message(form, field, size))


def _raw_of(decode: Callable[[bytes], Work], raw: str, size: int) -> Work:
    return decode(RAW[raw](size))


def _text_of(make: Callable[[str], Work], family: Family, size: int) -> Work:
    return make(family.characters(size))


def grown_texts(path: str, reader: Reader, families: Sequence[Family]) -> Iterator[Growth]:
    """What of the families a path is slow with, and what is known to be slow."""
    suspects: dict[Family, None] = dict.fromkeys(KNOWN)
    pace: dict[Family, float] = {}
    for family in families:
        if grows_faster_than_its_input(partial(_text_of, reader.make, family), QUICK):
            suspects[family] = None
        else:
            pace[family] = cpu_seconds(reader.make(family.characters(8 * QUICK)))
    for family in sorted(pace, key=pace.__getitem__, reverse=True)[:SLOWEST]:
        suspects[family] = None
    sizes = (reader.most // 16, reader.most // 4, reader.most)
    for family in suspects:
        yield grow(path, family.name, sizes, partial(_text_of, reader.make, family))


def wrong(growths: Sequence[Growth]) -> list[Growth]:
    """What must not be: steeper than linear, or a record that holds up the others."""
    return [
        growth
        for growth in growths
        if not growth.is_linear or (growth.path != "batch of stories" and growth.at_largest > LIMIT_MS)
    ]


def report(growths: Sequence[Growth], *, everything: bool) -> None:
    """Rows of a table for people: of a path the steepest and the slowest, and all that is wrong."""
    steepest, slowest = max(growths, key=lambda g: g.exponent), max(growths, key=lambda g: g.at_largest)
    bad = wrong(growths)
    for growth in growths if everything else dict.fromkeys((steepest, slowest, *bad)):
        end = "" if growth.whole else f"  (stopped at {growth.sizes[-1]:,})"
        end += "  WRONG" if growth in bad else ""
        print(
            f"{growth.path:18} {len(growths):5}  {growth.exponent:8.2f}  {growth.at_largest:8.1f}"
            f"  {growth.family[:90]}{end}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
