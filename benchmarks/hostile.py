"""Looks for input that costs more than its length, in everything a record passes on its way to the database.

Texts are put together from pieces of every kind (hostile_texts.py), looked at quickly at two sizes, and what looks
steep or slow there, with all that was ever steep, is grown to a megabyte. Messages whose form is hostile are grown too,
and batches of stories that resemble one another. Prints the steepest and the slowest of each path and exits 1 if one is
steeper than linear, or if a record of a megabyte costs more than 250 ms of processor time.

python benchmarks/hostile.py --pairs 20000 --seed 7
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads' time is not this thread's

from growth import Growth, Make, Work, cpu_seconds, grow, grows_faster_than_its_input, undisturbed
from hostile_texts import FORMS, KNOWN, RAW, Family, alone, message, story, together
from stages import BATCHES, MAPPED_FIELDS, Stages

SIZES = (65_536, 262_144, 1_000_000)  # bytes
BATCH_SIZES = (125, 250, 500, 1_000)  # stories
QUICK = 1_000  # bytes, and eight times as many
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
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder, undisturbed():
        stages = Stages(Path(folder))
        growths = [growth for growth in searched(stages, chosen) if chosen.only in growth.path]
    report(growths, everything=chosen.all)
    return 1 if wrong(growths) else 0


def searched(stages: Stages, chosen: argparse.Namespace) -> Iterator[Growth]:
    """Everything that was grown."""
    families = [*alone(), *together(Random(chosen.seed), chosen.pairs)]
    for path, make in stages.texts.items():
        if chosen.only in path:
            yield from grown_texts(path, make, families)
    for path, family, sizes, make_sized in inputs(stages):
        if chosen.only in path:
            yield grow(path, family, sizes, make_sized)


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
    return make(family.text(size))


def grown_texts(path: str, make: Callable[[str], Work], families: Sequence[Family]) -> Iterator[Growth]:
    """What of the families a path is slow with, and what is known to be slow."""
    suspects: dict[Family, None] = dict.fromkeys(KNOWN)
    pace: dict[Family, float] = {}
    for family in families:
        if grows_faster_than_its_input(partial(_text_of, make, family), QUICK):
            suspects[family] = None
        else:
            pace[family] = cpu_seconds(make(family.text(8 * QUICK)))
    for family in sorted(pace, key=pace.__getitem__, reverse=True)[:SLOWEST]:
        suspects[family] = None
    for family in suspects:
        yield grow(path, family.name, SIZES, partial(_text_of, make, family))
    print(f"{path}: {len(families):,} families looked at, {len(suspects)} grown", file=sys.stderr, flush=True)


def wrong(growths: Sequence[Growth]) -> list[Growth]:
    """What must not be: steeper than linear, or a record that holds up the others."""
    return [
        growth
        for growth in growths
        if not growth.is_linear or (growth.path != "batch of stories" and growth.at_largest > LIMIT_MS)
    ]


def report(growths: Sequence[Growth], *, everything: bool) -> None:
    """A table for people: of each path the steepest and the slowest, then all that is wrong."""
    print(f"{'path':18} {'grown':>5}  {'exponent':>8}  {'ms at 1 MB':>10}  input")
    for path in dict.fromkeys(growth.path for growth in growths):
        mine = [growth for growth in growths if growth.path == path]
        steepest, slowest = max(mine, key=lambda g: g.exponent), max(mine, key=lambda g: g.at_largest)
        for growth in mine if everything else dict.fromkeys((steepest, slowest)):
            _row(growth, len(mine))
    if bad := wrong(growths):
        print(f"\n{len(bad)} of {len(growths)} are wrong:")
        for growth in bad:
            _row(growth, 1)
    else:
        print(f"\nall {len(growths):,} grow with their length, and none is above {LIMIT_MS:.0f} ms")


def _row(growth: Growth, count: int) -> None:
    end = "" if growth.whole else f"  (stopped at {growth.sizes[-1]:,})"
    print(f"{growth.path:18} {count:5}  {growth.exponent:8.2f}  {growth.at_largest:10.1f}  {growth.family[:90]}{end}")


if __name__ == "__main__":
    sys.exit(main())
