"""The limits as a person sees them before real money moves, and that person's word: typed, or given as their hash."""

from __future__ import annotations

import re
import shlex
import shutil
import textwrap
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from bot.config import SAMPLE
from bot.config_types import plain, write_share
from bot.limit_table import MONEY, NO_LIMIT, LimitRow, limit_rows, limits_hash
from bot.preflight_checks import amount
from data.errors import RefusedError
from data.times import format_duration

if TYPE_CHECKING:
    from bot.config import Config

HEX_MIN = 12
OPTION = "--yes-i-accept-these-limits"
NARROW, WIDE = 80, 120  # columns of the whole
WIDTHS = (19, 22, 2)  # of name, value and control; the meaning has the rest
GAP = 2
OF_EQUITY = frozenset({"asset_share", "daily_loss", "daily_loss_flatten", "drawdown", "gross_leverage"})


def words_of(config: Config) -> str:
    """What a person types: amount, coin and venue, a test venue named as one."""
    kind = " sandbox" if config.exchange.sandbox else " demo" if config.exchange.demo else ""
    return f"trade {plain(config.run.cash)} {config.quote} on {config.exchange.id}{kind}"


def limits_text(config: Config, *, width: int = NARROW) -> str:
    """All that bounds a session: where, with how much, each limit in money with its control; `width` columns at most.

    Everything that `limits_hash` is made of is in it.
    """
    return "\n".join([_banner(config, width), "", *_head(config, width), "", *_rows(config, width)])


def show_limits(config: Config) -> None:
    """Print `limits_text` as wide as the terminal, within reason."""
    from bot.terminal import say

    say(limits_text(config, width=min(max(shutil.get_terminal_size().columns, NARROW), WIDE)))


def confirm(config: Config, accepted: str | None, *, ask: Callable[[str], str], interactive: bool) -> str:
    """A person's word for these limits. Show them first.

    Parameters
    ----------
    accepted : str or None
        The hash given on the command line: at least 12 of its characters, from the first on.
    ask : callable
        Prints a prompt and gives the line typed.
    interactive : bool
        Whether somebody sits there to type.

    Returns
    -------
    str
        "hash" or "typed".

    Raises
    ------
    RefusedError
        The hash is of other limits, the words weren't typed, or nobody is there to type them.
    """
    whole = limits_hash(config)
    if accepted is not None:
        given = accepted.strip().lower()
        if not re.fullmatch(rf"[0-9a-f]{{{HEX_MIN},{len(whole)}}}", given):
            what = f"{OPTION} takes the limits' hash, at least {HEX_MIN} hex characters of it"
            raise RefusedError(f"{what}. Read the limits, then: {_command(config)}")
        if not whole.startswith(given):
            what = f"these aren't the limits that were accepted: their hash is {whole[:HEX_MIN]}, not {given[:HEX_MIN]}"
            raise RefusedError(f"{what}. Read them, then: {_command(config)}")
        return "hash"
    if not interactive:
        raise RefusedError(f"nobody is here to confirm the limits. Read them, then: {_command(config)}")
    words = words_of(config)
    if ask(f"Type exactly: {words}\n> ").strip() != words:
        raise RefusedError("not confirmed: the words weren't typed; nothing was started")
    return "typed"


def _command(config: Config) -> str:
    file = [] if config.where == SAMPLE else [shlex.quote(config.where)]
    canary = ["--canary"] if config.live.canary and "live.canary" in config.overridden else []
    same = " (with the same --set)" if config.overridden - {"live.canary"} else ""
    return " ".join(["tidegate live", *file, *canary, OPTION, limits_hash(config)[:HEX_MIN]]) + same


# --- the text ---------------------------------------------------------------------------------------------------------
def _banner(config: Config, width: int) -> str:
    exchange = config.exchange
    if exchange.sandbox or exchange.demo:
        what = "TEST NETWORK (sandbox)" if exchange.sandbox else "DEMO TRADING"
        return f"=== {what}: no real money ".ljust(width, "=")
    return "=== REAL MONEY ".ljust(width, "=")


def _head(config: Config, width: int) -> Iterator[str]:
    run, exchange = config.run, config.exchange
    yield from _line(width, "exchange", f"{exchange.id}, account {exchange.account}, session {config.live.name}")
    for name, address in exchange.urls.items():
        yield from _line(width, "", f"{name} goes to {address}")
    leverage = f", leverage {run.leverage:g}" if run.market == "perp" else ""
    yield from _line(width, "market", f"{run.market}{leverage}: {', '.join(run.symbols)}")
    yield from _line(width, "allocation", f"{plain(run.cash)} {config.quote}")
    yield from _line(width, "strategy", f"{run.strategy}, bars of {format_duration(run.bar)}")
    if config.live.canary:
        yield from _line(width, "canary", "every entry is capped near the venue's minimum")
    yield from _line(width, "limits' hash", limits_hash(config))


def _line(width: int, name: str, text: str) -> Iterator[str]:
    for place, piece in enumerate(textwrap.wrap(text, width - 14)):
        yield f"{'' if place else name:<14}{piece}".rstrip()


def _rows(config: Config, width: int) -> Iterator[str]:
    yield from _cells(width, "limit", "value", "no", "meaning")
    yield "-" * width
    for row in limit_rows(config):
        yield from _cells(width, row.name, _value(config, row), row.control, row.meaning)
    live, fields = config.live, type(config.live).model_fields
    for name, text in (
        ("unknown_orders", f"{live.unknown_orders}"),
        ("foreign_share", _share(config, float(live.foreign_share))),
        ("clock_offset", format_duration(live.clock_offset)),
    ):
        meaning, _, control = (fields[name].description or "").partition(" (")
        yield from _cells(width, f"live.{name}", text, control.rstrip(")"), meaning)
    if config.limits.tag_share:
        tags = ", ".join(f"{coin} {tag}" for coin, tag in sorted(config.tags.items()))
        yield from _cells(width, "tags", tags, "9", "the tag of each coin")
    yield ""
    yield "Shares of equity are in money at the allocation; no: the number of the control."


def _value(config: Config, row: LimitRow) -> str:
    """A limit in money where it comes to money, with what was given; else as it is written."""
    given, value = getattr(config.limits, row.name), row.value
    default = " (default)" if row.origin == "default" else ""
    if isinstance(value, dict):
        return ", ".join(f"{tag} {_share(config, share)}" for tag, share in value.items()) or NO_LIMIT
    if value is None:
        return NO_LIMIT + default
    if row.name in MONEY:
        share = f" ({given})" if given is not None and given.is_share else default
        return amount(value, config.quote) + share
    if row.name in OF_EQUITY:
        return _share(config, value) + default
    return row.text + default


def _share(config: Config, share: float) -> str:
    return f"{amount(share * float(config.run.cash), config.quote)} ({write_share(share)})"


def _cells(width: int, *cells: str) -> Iterator[str]:
    """One row, its cells wrapped; the control's number flush right."""
    widths = (*WIDTHS, width - sum(WIDTHS) - GAP * len(WIDTHS))
    wrapped = [textwrap.wrap(cell, room) or [""] for cell, room in zip(cells, widths, strict=True)]
    for at in range(max(len(lines) for lines in wrapped)):
        pieces = [lines[at] if at < len(lines) else "" for lines in wrapped]
        line = [
            f"{piece:>{room}}" if column == 2 else f"{piece:<{room}}"
            for column, (piece, room) in enumerate(zip(pieces, widths, strict=True))
        ]
        yield (" " * GAP).join(line).rstrip()
