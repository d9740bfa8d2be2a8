"""How good a sentiment model is on texts it never learnt from: the whole table by one command.

python -m benchmarks.sentiment_table [--model tidegate-mini] [--sets FOLDER] [--rounds 1000] [--save] [--json]

The labelled sets are found as `python -m benchmarks.train_sentiment` finds them; without them only the probes and the
attacks on our own headlines are scored, and it says so. Beside each figure stand its 95 % bootstrap interval, VADER's
figure, floor and aim, the expected calibration error and the speed. All goes through the product's own scorer. The sets
are for reporting: no checkpoint, threshold or post was chosen by them; the card says how often they were looked at.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.sentiment_attacks import attack_lines
from benchmarks.sentiment_judge import Judge, Line
from benchmarks.sentiment_lines import bearish_headlines, held_out_lines, other_lines, probe_lines
from benchmarks.train_sentiment.__main__ import SETS_ENV, sets_folder
from benchmarks.train_sentiment.leaflet import write_leaflet
from benchmarks.train_sentiment.pack import read_card, write_card
from data.errors import InputError, TidegateError
from signals.models import resolve
from signals.scorer import Compute, open_scorer

HEAD = ("", "rows", "figure", "value [95 %]", "VADER", "floor", "aim", "ECE", "texts/s", "")


def measure(judge: Judge, folder: Path | None) -> list[Line]:
    """All lines of the table; without a folder those that need no labelled sets."""
    lines = [] if folder is None else held_out_lines(judge, folder)
    lines += probe_lines(judge)
    lines += attack_lines(judge, bearish_headlines(folder))
    return lines if folder is None else [*lines, *other_lines(judge, folder)]


def show(lines: Sequence[Line]) -> str:
    """The table as people read it."""
    rows = [HEAD, *map(_cells, lines)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEAD))]
    printed = []
    for at, row in enumerate(rows):
        if at and (at == 1 or lines[at - 1].section != lines[at - 2].section):
            printed.append(f"-- {lines[at - 1].section}")
        printed.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return "\n".join(printed)


def _cells(line: Line) -> tuple[str, ...]:
    mark = {None: "", True: "ok", False: "BELOW FLOOR" if not line.lower_is_better else "ABOVE CEILING"}[line.holds]
    return (
        line.title,
        f"{line.rows:,}",
        line.figure,
        f"{line.value:.3f} [{line.low:.3f}, {line.high:.3f}]",
        *(_number(line.vader), _number(line.floor), _number(line.aim), _number(line.calibration_error)),
        "" if line.texts_per_s is None else f"{line.texts_per_s:,.0f}",
        "; ".join(filter(None, (mark, line.note))),
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sentiment_table", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tidegate-mini", help="registry name, hub id with commit, or folder")
    parser.add_argument("--sets", type=Path, help=f"folder of the labelled sets (else {SETS_ENV}/labelled)")
    parser.add_argument("--rounds", type=int, default=1000, help="of the bootstrap")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dtype", default="auto", help="auto, fp32 or bf16")
    parser.add_argument("--save", action="store_true", help="write the figures into the model's card")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Print the table; 0 when it was measured, whether floors hold or not."""
    args = parse(argv)
    try:
        folder = sets_folder(args.sets) if args.sets is not None or os.environ.get(SETS_ENV) else None
        scorer = open_scorer(resolve(args.model), Compute(dtype=args.dtype))
        judge = Judge(scorer, open_scorer(resolve("vader")), args.rounds, args.seed)
        if folder is None:
            print(f"labelled sets skipped: no --sets and no {SETS_ENV}", file=sys.stderr)
        lines = measure(judge, folder)
        if args.save:
            if scorer.card.folder is None:
                raise InputError("no folder whose card could be written", key="model", value=args.model)
            card = read_card(scorer.card.folder)
            card["metrics"]["table"] = [line.plain() for line in lines]
            write_card(scorer.card.folder, card)
            write_leaflet(scorer.card.folder)
    except TidegateError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if args.json:
        print(json.dumps([line.plain() for line in lines], indent=2))
    else:
        print(f"{scorer.card.name} {scorer.card.pinned[:12]}, {scorer.device}, {scorer.dtype}\n{show(lines)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
