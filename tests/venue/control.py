"""Commands that steer a running venue, as JSON values: over HTTP from another process, or out of a fault."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tests.venue.faults import Fault, seeded
from tests.venue.records import Order, plain

if TYPE_CHECKING:
    from tests.venue.server import LocalVenue

Command = dict[str, Any]


def _price(venue: LocalVenue, given: Command) -> None:
    """symbol, price (or prices, met one after the other)."""
    for price in given.get("prices", [given.get("price")]):
        venue.set_price(given["symbol"], price)


def _bar(venue: LocalVenue, given: Command) -> None:
    """symbol, interval, open_ms, values, and the flags of `LocalVenue.bar`."""
    venue.bar(**given)


def _depth(venue: LocalVenue, given: Command) -> None:
    """Arguments of `Engine.set_depth`."""
    venue.engine.set_depth(**given)


def _deposit(venue: LocalVenue, given: Command) -> None:
    """coin, amount (below 0: taken out)."""
    venue.engine.deposit(given["coin"], given["amount"], venue.now_ms(), given.get("account", "main"))


def _status(venue: LocalVenue, given: Command) -> None:
    """symbol, status "TRADING", "BREAK" or "DELISTED"."""
    venue.engine.set_status(given["symbol"], given["status"], venue.now_ms())


def _order(venue: LocalVenue, given: Command) -> Command:
    """Somebody else's order: arguments of `LocalVenue.foreign`."""
    return plain(venue.foreign(**given))


def _cancel(venue: LocalVenue, given: Command) -> None:
    """The venue (status "EXPIRED") or a person (default) ends an order: client_id or order_id."""
    order = _found(venue, given)
    venue.engine.end(order, venue.now_ms(), given.get("status", "CANCELED"), given.get("reason", "by hand"))


def _fill(venue: LocalVenue, given: Command) -> None:
    """A part of a waiting order fills whatever the book says: client_id or order_id, qty, price."""
    venue.engine.fill(_found(venue, given), given["qty"], given.get("price"), venue.now_ms())


def _fault(venue: LocalVenue, given: Command) -> None:
    """One fault, or `faults`: a list of them, or `seed` and `count`."""
    if "seed" in given:
        venue.faults.add(*seeded(int(given["seed"]), int(given["count"]), within=int(given.get("within", 20))))
        return
    venue.faults.add(*(Fault(**one) for one in given.get("faults", [given])))


def _clock(venue: LocalVenue, given: Command) -> None:
    """offset_ms: the venue's clock less ours."""
    venue.offset_ms = float(given["offset_ms"])


def _key(venue: LocalVenue, given: Command) -> None:
    """api_key, and any of trade, withdraw, revoked."""
    key = venue.doorman.keys[given["api_key"]]
    for name in ("trade", "withdraw", "revoked"):
        setattr(key, name, bool(given.get(name, getattr(key, name))))
    if key.revoked:
        venue.streams.cut("user")


def _maintenance(venue: LocalVenue, given: Command) -> None:
    """on: every request is a 503, streams are cut and can't be dialled."""
    venue.maintenance = bool(given["on"])
    if venue.maintenance:
        venue.streams.cut()


def _fee_coin(venue: LocalVenue, given: Command) -> None:
    """coin that fees are taken in, "" for none."""
    venue.engine.account(given.get("account", "main")).fee_coin = given["coin"]


def _limits(venue: LocalVenue, given: Command) -> None:
    """weight_limit, orders_limit, patience, ban_s; `banned_s` bans at once."""
    for name in ("weight_limit", "orders_limit", "patience", "ban_s"):
        setattr(venue.doorman, name, int(given.get(name, getattr(venue.doorman, name))))
    if "banned_s" in given:
        venue.doorman.ban(float(given["banned_s"]), venue.now_ms())


def _found(venue: LocalVenue, given: Command) -> Order:
    order = venue.engine.find(order_id=given.get("order_id"), client_id=given.get("client_id", ""))
    if order is None:
        raise LookupError(f"no such order: {given}")
    return order


COMMANDS: dict[str, Callable[[LocalVenue, Command], Any]] = {
    "price": _price,
    "bar": _bar,
    "depth": _depth,
    "deposit": _deposit,
    "status": _status,
    "order": _order,
    "cancel": _cancel,
    "fill": _fill,
    "fault": _fault,
    "clear": lambda venue, given: venue.faults.clear(),
    "clock": _clock,
    "key": _key,
    "maintenance": _maintenance,
    "fee-coin": _fee_coin,
    "limits": _limits,
    "cut": lambda venue, given: venue.streams.cut(given.get("kind", "*"), politely=bool(given.get("politely"))),
    "truth": lambda venue, given: venue.truth(given.get("account", "main")),
    "time": lambda venue, given: venue.now_ms(),
}


async def run_command(venue: LocalVenue, command: Command) -> Any:
    """Run `{"do": name, ...}`; with `then`, another command `after_s` later, that takes it back for instance.

    Besides the table: "listen" (on), and "walk" (symbol, prices, every_s).

    Raises
    ------
    KeyError
        There is no such command.
    """
    given = dict(command)
    name, then, after_s = given.pop("do"), given.pop("then", None), float(given.pop("after_s", 0.0))
    if then is not None:
        venue.spawn(_later(venue, then, after_s))
    if name == "listen":
        return await venue.listen(bool(given["on"]))
    if name == "walk":
        return venue.spawn(_walk(venue, given))
    return COMMANDS[name](venue, given)


async def _later(venue: LocalVenue, command: Command, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await run_command(venue, command)


async def _walk(venue: LocalVenue, given: Command) -> None:
    for price in given["prices"]:
        venue.set_price(given["symbol"], Decimal(str(price)))
        await asyncio.sleep(float(given["every_s"]))
