"""Checks before a live session that ask nothing: limits against markets, disk, latch, lock, model, facts."""

from __future__ import annotations

import contextlib
import math
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from backtest.facts import coins_of, metric_names, metric_where, needs_posts, sentiment_where
from backtest.spec import RunSpec
from bot.config_resolve import RENAMED_LIMITS, resolve_fills, resolve_limits, resolve_tags
from bot.config_types import plain
from bot.doctor import Finding, disk
from bot.exchange.wire import MarketView
from bot.journal.places import JOURNAL_FILE
from bot.limit_table import limits_hash, missing_limits
from bot.operate.latch import LATCH_FILE, read_latch
from bot.operate.lock import holder, last_holder
from data.errors import InputError
from data.store import Store
from data.times import DAY_NS, format_duration

if TYPE_CHECKING:
    from bot.config import Config

FSYNC_WARN_MS, FSYNC_FAIL_MS = 20.0, 500.0
FSYNC_TIMES = 7
ROOM = 1.25  # of the largest order over the venue's minimum: what falls below that can't be sold any more
COARSE = 10  # lots that an order at its cap should have at least
RECENT_NS = 30 * DAY_NS
# Limits that bound one entry: those in money, and those that are a share of equity.
IN_MONEY = ("order_notional", "position_notional", "gross_notional", "net_notional", "turnover_per_day")
OF_EQUITY = ("asset_share", "gross_leverage")
SHOWN_HEX = 12


def local_findings(config: Config, spec: RunSpec, *, folder: Path, store: Store, now_ns: int) -> list[Finding]:
    """All that needs no venue."""
    return [
        *configuration(config, spec),
        *disk_findings(folder),
        latch(folder),
        *lock(folder),
        *facts(spec, store, now_ns),
    ]


# --- configuration ----------------------------------------------------------------------------------------------------
def configuration(config: Config, spec: RunSpec) -> Iterator[Finding]:
    """Hashes, missing limits, when decisions are made."""
    yield Finding("ok", "configuration", f"{config.where}, hash {config.hash()[:SHOWN_HEX]}")
    missing = missing_limits(config)
    if missing:
        found = f"{len(missing)} aren't stated: {', '.join(missing)}"
        yield Finding("fail", "limits", found, "State each of them: tidegate limits --live")
    else:
        yield Finding("ok", "limits", f"all stated, hash {limits_hash(config)[:SHOWN_HEX]}")
    delay, settle = spec.decision_delay_ns, config.live.settle
    given = "" if config.run.decision_delay else " (run.decision_delay isn't set)"
    found = f"{format_duration(delay) if delay else 'at once'} after a bar's close{given}"
    if len(spec.symbols) > 1 and delay <= settle:
        remedy = f"Set run.decision_delay above live.settle ({format_duration(settle)}): bars come that much later"
        yield Finding("warn", "decision", f"{found}: some symbols' bars may be missing then", remedy)
    else:
        yield Finding("ok", "decision", found)


# --- markets against limits -------------------------------------------------------------------------------------------
def minimums(
    config: Config, spec: RunSpec, views: Mapping[str, MarketView], prices: Mapping[str, float]
) -> Iterator[Finding]:
    """Whether an order within the limits is large enough for the venue."""
    from bot.session.live import CANARY

    sound = True
    canary = max((float(view.min_notional) for view in views.values()), default=0.0) * CANARY
    for symbol, view in views.items():
        caps = _caps(config, symbol)
        if config.live.canary:
            caps["live.canary"] = ("true", canary)
        for finding in _minimum(config, symbol, view, prices.get(symbol, float("nan")), caps):
            sound = False
            yield finding
    blind = [f"{symbol} {view.min_qty}" for symbol, view in views.items() if symbol not in prices]
    if blind:
        found = f"no price is stored to compare least quantities with the limits: {', '.join(blind)}"
        yield Finding("warn", "minimums", found, "tidegate fetch bars")
    elif sound and views:
        least = ", ".join(f"{symbol} {_amount(float(view.min_notional), config)}" for symbol, view in views.items())
        yield Finding("ok", "minimums", f"an order within the limits is large enough (least: {least})")


def _minimum(
    config: Config, symbol: str, view: MarketView, price: float, caps: Mapping[str, tuple[str, float]]
) -> Iterator[Finding]:
    least, known = float(view.min_notional), price == price
    if known:
        least = max(least, float(view.min_qty) * price)
    if config.run.size == "quantity" and config.run.stake is not None and config.run.stake < Decimal(view.min_qty):
        found = f"{symbol}: run.stake = {plain(config.run.stake)} is below the venue's least quantity {view.min_qty}"
        yield Finding("fail", "minimums", found, f"Set run.stake to {view.min_qty} or more")
    low = [(key, told, money) for key, (told, money) in caps.items() if money < least]
    wanted = least * ROOM
    for key, told, money in low:
        allows = f"{symbol}: {key} = {told} allows orders of {_amount(money, config)}"
        found = f"{allows}; the venue takes none below {_amount(least, config)}"
        yield Finding("fail", "minimums", found, _raise(config, key, told, wanted))
    if low:
        return
    key, (told, money) = min(caps.items(), key=lambda one: one[1][1])
    if money < wanted:
        allows = f"{symbol}: {key} = {told} allows positions of {_amount(money, config)}"
        found = f"{allows}, hardly above the venue's least order: one that falls in price can't be sold any more"
        yield Finding("warn", "minimums", found, _raise(config, key, told, wanted))
    elif known and float(view.lot) * price * COARSE > money:
        found = (
            f"{symbol}: sizes come in steps of {view.lot} ({_amount(float(view.lot) * price, config)}), {key} = {told}"
        )
        yield Finding("warn", "minimums", found, "Wishes are rounded down by up to a step; raise the limit or the cash")


def _raise(config: Config, key: str, told: str, wanted: float) -> str:
    """What to set a key to, so that it allows orders of `wanted`."""
    if key == "live.canary":
        return "The canary's orders are too small for this market: start without it, with small limits"
    if not told.endswith("%"):
        return f"Set {key} to {_amount(wanted, config)} or more"
    share = math.ceil(wanted / float(config.run.cash) * 1e3) / 10
    return f"Set {key} to {share:g}% or more, or raise run.cash"


def _caps(config: Config, symbol: str) -> dict[str, tuple[str, float]]:
    """What bounds one entry in the symbol: by key, how it is given and the money it comes to at the start."""
    limits, cash = resolve_limits(config), float(config.run.cash)
    found = {"run.cash": (plain(config.run.cash), cash * config.run.leverage)}
    for name in IN_MONEY:
        found[f"limits.{name}"] = (_given(config, name), float(getattr(limits, RENAMED_LIMITS.get(name, name))))
    for name in OF_EQUITY:
        share = float(getattr(limits, name))
        found[f"limits.{name}"] = (f"{share * 100:g}%", share * cash)
    tag = resolve_tags(config).get(symbol)
    if tag in limits.tag_share:
        share = limits.tag_share[tag]
        found[f"limits.tag_share.{tag}"] = (f"{share * 100:g}%", share * cash)
    if config.run.size == "notional" and config.run.stake is not None:
        found["run.stake"] = (plain(config.run.stake), float(config.run.stake))
    return found


def _given(config: Config, name: str) -> str:
    value = getattr(config.limits, name)
    return "no limit" if value is None else str(value)


def _amount(value: float, config: Config) -> str:
    return amount(value, config.quote)


def amount(value: float, quote: str) -> str:
    """Money for people: cents, and below one unit enough digits that it isn't 0."""
    return f"{value:,.2f} {quote}" if abs(value) >= 1 or not value else f"{Decimal(f'{value:.6g}'):f} {quote}"


def fees(config: Config, views: Mapping[str, MarketView]) -> Iterator[Finding]:
    """The venue's fees against those that backtests of this configuration reckoned with."""
    fills, dearer = resolve_fills(config), False
    for symbol, view in views.items():
        for name, told, ours in (("taker", view.taker, fills.taker), ("maker", view.maker, fills.maker)):
            if told is None or float(told) <= ours + 1e-12:
                continue
            dearer = True
            found = f"{symbol}: the venue's {name} fee is {float(told) * 1e4:g} bps, the configuration's {ours * 1e4:g}"
            yield Finding("warn", "fees", found, f"Set fill.{name}_bps = {float(told) * 1e4:g} and look at a backtest")
    if not dearer and views:
        yield Finding("ok", "fees", "the venue's aren't above the configured ones")


def protection(spec: RunSpec, views: Mapping[str, MarketView]) -> Iterator[Finding]:
    """Where the strategy's protection will stand: at the venue, or in this process at the close of bars."""
    stop, take, trail, _ = spec.strategy.protection
    stops, takes = stop > 0.0 or trail > 0.0, take > 0.0
    if not stops and not takes:
        yield Finding("ok", "protection", "the strategy declares neither stop nor target")
        return
    without = [symbol for symbol, view in views.items() if not view.stops]
    if without and (stops or spec.perp):
        found = f"the venue keeps no stops for {', '.join(without)}: they are looked at when a bar closes"
        yield Finding(
            "warn", "protection", found, "Use shorter bars; nothing protects a position while the bot is down"
        )
    elif stops:
        yield Finding("ok", "protection", "stops are kept at the venue")
    if takes and not spec.perp:
        found = "take_profit: a spot venue keeps it not beside a stop; it is looked at when a bar closes"
        yield Finding("warn", "protection", found, "Expect it later than at its price, and not while the bot is down")


# --- disk, latch, lock ------------------------------------------------------------------------------------------------
def disk_findings(folder: Path) -> Iterator[Finding]:
    """Space, and how long a durable write takes: every order waits for one."""
    while not folder.exists():
        folder = folder.absolute().parent
    yield replace(disk(folder), check="journal disk")
    try:
        times = measure_fsync(folder)
    except OSError as error:
        found = f"{folder}: nothing can be made durable there ({error.strerror or error})"
        yield Finding("fail", "journal fsync", found, "Choose another place with --var")
        return
    middle, worst = statistics.median(times), max(times)
    found = f"{middle:.1f} ms (worst of {len(times)}: {worst:.1f} ms) at {folder}"
    if middle > FSYNC_FAIL_MS:
        yield Finding(
            "fail", "journal fsync", found, f"No order could leave in time (over {FSYNC_FAIL_MS:g} ms): another disk"
        )
    elif middle > FSYNC_WARN_MS:
        yield Finding(
            "warn", "journal fsync", found, f"Every order waits for it; a disk under {FSYNC_WARN_MS:g} ms is advised"
        )
    else:
        yield Finding("ok", "journal fsync", found)


def measure_fsync(folder: Path, times: int = FSYNC_TIMES) -> list[float]:
    """Milliseconds that appending 4 KiB durably took, each time.

    Raises
    ------
    OSError
        As the disk gave it.
    """
    found = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(times):
            file.write(b"\0" * 4096)
            began = time.perf_counter()
            os.fsync(file.fileno())
            found.append((time.perf_counter() - began) * 1e3)
    return found


def latch(folder: Path) -> Finding:
    """The kill latch."""
    if is_fresh(folder) and not (folder / LATCH_FILE).exists():
        return Finding("ok", "latch", "a first session: the confirmation makes it ACTIVE")
    found = read_latch(folder)
    if not found.halted:
        return Finding("ok", "latch", f"ACTIVE by {found.person}: {found.reason}")
    by = f" by {found.person}" if found.person else ""
    remedy = f"tidegate resume --mode live --name {folder.name} --reason TEXT"
    return Finding("fail", "latch", f"HALTED{by}: {found.reason}", remedy)


def lock(folder: Path) -> Iterator[Finding]:
    """Whether another bot has the account's folder."""
    running = holder(folder)
    if running is not None and running.pid != os.getpid():
        yield Finding("fail", "lock", f"a bot runs on this account: {running}", "tidegate status; one bot an account")
        return
    last = last_holder(folder)
    if last.pid and not last.released and last.pid != os.getpid():
        found = f"free; {last} never gave it back: it crashed or was killed"
        yield Finding("warn", "lock", found, "Was it on another machine? Make sure that it is dead, then --take-over")
        return
    yield Finding("ok", "lock", "no other bot has this account")


def is_fresh(folder: Path) -> bool:
    """Whether no session of the account ever ran."""
    return not (folder / JOURNAL_FILE).exists()


# --- facts ------------------------------------------------------------------------------------------------------------
def facts(spec: RunSpec, store: Store, now_ns: int) -> Iterator[Finding]:
    """The pinned model and its scores, and metrics: there, and young enough to decide on."""
    coins = coins_of(spec)
    if needs_posts(spec):
        name = f"{spec.model}@{spec.model_revision[:SHOWN_HEX]}"
        if not spec.model_revision:
            yield Finding(
                "fail", "model", f"{spec.model} isn't pinned to a revision", "Name it: run.model = ID@REVISION"
            )
            return
        yield Finding("ok", "model", f"{name} is pinned")
        yield _newest(spec, store, now_ns, "sentiment", f"scores of {name}", sentiment_where(spec, coins), "")
    else:
        yield Finding("ok", "model", "no signal reads posts")
    for name in metric_names(spec):
        yield _newest(spec, store, now_ns, "metrics", name, metric_where(name, coins), name)


def _newest(
    spec: RunSpec, store: Store, now_ns: int, kind: str, told: str, where: Mapping[str, list[str]], name: str
) -> Finding:
    check = "scores" if kind == "sentiment" else "metrics"
    remedy = "Start the recorder and tidegate score" if kind == "sentiment" else "Bring it in, and keep it recorded"
    newest = None
    try:
        for since in (now_ns - RECENT_NS, None):
            rows = store.table(kind, where, since, now_ns + 1, columns=["known_ns"])
            if rows.num_rows:
                newest = max(rows["known_ns"].to_pylist())
                break
    except InputError as error:
        return Finding("fail", check, f"the store can't be read: {error.what}", error.remedy or "")
    if newest is None:
        return Finding("warn", check, f"{told}: none are stored; signals stay cold, and nothing is decided", remedy)
    age = now_ns - newest
    limit = _age_limit(spec, kind, name)
    found = f"{told}: the newest is {_rough(age)} old"
    if limit and age > limit:
        return Finding("warn", check, f"{found}; signals freeze after {format_duration(limit)}", remedy)
    return Finding("ok", check, found)


def _age_limit(spec: RunSpec, kind: str, name: str) -> int:
    """The shortest age after which a signal that reads such facts freezes; 0: never."""
    ages = [
        signal.max_age_ns or spec.limits.signal_age_ns
        for signal in spec.strategy.signals.values()
        if any(fact[0] == kind and (not name or fact[1] == name) for fact in signal.facts())
    ]
    return min((age for age in ages if age), default=0)


def _rough(span_ns: int) -> str:
    """A duration in its largest fitting unit."""
    for unit, size in (("d", DAY_NS), ("h", DAY_NS // 24), ("m", 60 * 10**9)):
        if span_ns >= 2 * size:
            return f"{span_ns // size} {unit}"
    return f"{span_ns / 1e9:.0f} s"


def stored_prices(spec: RunSpec, store: Store, now_ns: int) -> dict[str, float]:
    """Newest stored close of each symbol; one of which none is stored is left out."""
    found = {}
    for symbol in spec.symbols:
        with contextlib.suppress(InputError):  # none are stored: what needs a price says so
            series = store.bars(symbol, spec.bar_ns, now_ns - RECENT_NS, now_ns, spec.bar_source)
            if len(series):
                found[symbol] = float(series.close[-1])
    return found
