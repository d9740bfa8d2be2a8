"""The training command.

python -m benchmarks.train_sentiment [--sets FOLDER] [--out FOLDER] [--seed 1] [--layers 3] [--epochs 3]
                                     [--distil-epochs 8] [--work FOLDER] [--threads 1] [--quick]
python -m benchmarks.train_sentiment --own FILE --out FOLDER [--cutoff YYYY-MM-DD] [--base FOLDER]

The first form makes the shipped model from the labelled sets and our own posts: an hour on one core with bf16. The
second fine-tunes the shipped model on a user's own labelled file (text,label[,target] as CSV or Parquet).
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Final

from benchmarks.train_sentiment.card import own_card, shipped_card
from benchmarks.train_sentiment.leaflet import write_leaflet
from benchmarks.train_sentiment.nets import base_folder, open_base
from benchmarks.train_sentiment.pack import CARD_FILE, open_packed, read_card, save
from benchmarks.train_sentiment.run import (
    Recipe,
    Say,
    distil,
    finish,
    gather,
    posts_fact,
    teach,
)
from benchmarks.train_sentiment.sets import file_hash, mask_rows, read_table, training_rows
from data.errors import InputError
from signals.device import has_bf16_instructions
from signals.folders import EMBEDDED

SETS_ENV: Final = "TIDEGATE_REAL_DATA"
QUICK_ROWS: Final = 64
QUICK_POSTS: Final = 120
OWN_RATE: Final = 3e-5
"""A model that already knows the task is moved gently."""


def sets_folder(given: Path | None) -> Path:
    """Where the labelled sets lie: the option, else ``labelled`` under what the environment names.

    Raises
    ------
    InputError
        Neither is given, or there is no such folder.
    """
    if given is None and os.environ.get(SETS_ENV):
        given = Path(os.environ[SETS_ENV]) / "labelled"
    if given is None:
        remedy = f"Give --sets FOLDER, or set {SETS_ENV} to the folder that holds `labelled`"
        raise InputError("where the labelled sets lie isn't known", key="sets", value=None, remedy=remedy)
    if not given.is_dir():
        raise InputError("no such folder", where=given, key="sets", remedy="Give the folder with the labelled sets")
    return given


def make_recipe(args: argparse.Namespace) -> Recipe:
    """The recipe with what the command line changes."""
    plain = Recipe(layers=args.layers)
    able = not args.fp32 and has_bf16_instructions()
    teach_plan = replace(plain.teach, seed=args.seed, bf16=able, epochs=args.epochs or plain.teach.epochs)
    distil_plan = replace(plain.distil, seed=args.seed, bf16=able, epochs=args.distil_epochs or plain.distil.epochs)
    recipe = replace(plain, teach=teach_plan, distil=distil_plan)
    if args.own is not None:
        recipe = replace(recipe, teach=replace(teach_plan, rate=OWN_RATE))
    if args.quick:
        teach_plan, distil_plan = replace(recipe.teach, epochs=1), replace(recipe.distil, epochs=1)
        recipe = replace(recipe, teach=teach_plan, distil=distil_plan)
        recipe = replace(recipe, posts=QUICK_POSTS, held_posts=QUICK_POSTS, rows_max=QUICK_ROWS)
    return recipe


def train_shipped(args: argparse.Namespace, say: Say) -> dict[str, Any]:
    """The shipped model, written to `args.out`; its card."""
    recipe = make_recipe(args)
    found, facts = training_rows(sets_folder(args.sets))
    material = gather([row for rows in found.values() for row in rows], recipe, args.seed)
    teacher = open_base(args.base or base_folder())
    teach(teacher, material, recipe.teach, say, _kept(args.work, "teacher"))
    student = teacher
    if teacher.layers > recipe.layers:
        say(f"distilling {teacher.layers} layers to {recipe.layers}")
        student = distil(teacher, recipe.layers, material, recipe.distil, say, _kept(args.work, "student"))
    finished = finish(student, material, recipe.distil)
    card = shipped_card([*facts.values(), posts_fact(recipe)], finished, recipe, args.seed)
    save(student, args.out, card)
    return card


def _kept(folder: Path | None, name: str) -> Path | None:
    return None if folder is None else folder / f"{name}.safetensors"


def train_own(args: argparse.Namespace, say: Say) -> dict[str, Any]:
    """A model fine-tuned on a user's file, written to `args.out`; its card."""
    recipe = make_recipe(args)
    frame = read_table(args.own)
    rows = mask_rows(frame, "social", args.own.name)
    recipe = replace(recipe, posts=min(recipe.posts, len(rows)))
    material = gather(rows, recipe, args.seed)
    folder = args.base or EMBEDDED
    if not (folder / CARD_FILE).is_file():
        raise InputError(
            "no model to start from", where=folder, key="base", remedy="Give --base, a folder this command wrote"
        )
    net = open_packed(folder)
    base = read_card(folder)
    say(f"fine-tuning {base['name']} on {len(material.rows):,} rows of {args.own.name} and our own posts beside them")
    teach(net, material, recipe.teach, say)
    finished = finish(net, material, recipe.teach)
    facts = [
        {
            "name": args.own.name,
            "rows": len(rows),
            "licence": "the user's",
            "until": args.cutoff and args.cutoff.isoformat(),
            "sha256": file_hash(args.own),
        },
        posts_fact(recipe),
    ]
    cutoff = None
    if args.cutoff is None:
        say("no --cutoff given: every backtest with this model will say that it may have read of the future")
    elif base["cutoff"] is not None:
        cutoff = max(base["cutoff"], args.cutoff.isoformat())
    origin = {"name": base["name"], "cutoff": base["cutoff"], "training": base["training"]}
    card = own_card(args.out.name, cutoff, facts, finished, recipe, args.seed, origin)
    save(net, args.out, card)
    return card


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train_sentiment", description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=Path, help=f"folder of the labelled sets (else {SETS_ENV}/labelled)")
    parser.add_argument("--own", type=Path, help="fine-tune on this labelled file instead (text,label[,target])")
    parser.add_argument("--out", type=Path, help="folder to write (signals/weights for the shipped model)")
    parser.add_argument("--base", type=Path, help="folder to start from")
    parser.add_argument("--cutoff", type=date.fromisoformat, help="last day of your own texts, YYYY-MM-DD")
    parser.add_argument("--work", type=Path, help="folder to keep finished stages in, or to take them from")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="of fine-tuning; 3 when not given")
    parser.add_argument("--distil-epochs", type=int, help="of distilling; 8 when not given")
    parser.add_argument("--threads", type=int, default=1, help="more are quicker, and round differently")
    parser.add_argument("--fp32", action="store_true", help="don't use bf16 even where the processor has it")
    parser.add_argument("--quick", action="store_true", help="a few rows, one epoch: shows that it runs")
    args = parser.parse_args(argv)
    if args.out is None:
        if args.own is not None:
            parser.error("--own needs --out, the folder for your model")
        args.out = EMBEDDED
    if args.quick and args.out == EMBEDDED:
        parser.error("--quick needs --out: it would overwrite the shipped model with nothing of worth")
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 when done, 2 for bad input."""
    import torch

    args = parse(argv)
    torch.set_num_threads(args.threads)

    def say(line: str) -> None:
        print(line, flush=True)

    try:
        card = train_shipped(args, say) if args.own is None else train_own(args, say)
    except InputError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    write_leaflet(args.out)
    size = sum(path.stat().st_size for path in args.out.iterdir())
    say(f"{card['name']}: {size / 1e6:.1f} MB in {args.out}; held rows: {card['metrics']['validation']}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
