"""The verdict on a bot's lives: the venue's own orders, trades and balances against what the bot's journal knows.

Nothing that the bot says of itself is believed; its journal is only asked whether it knows what the venue knows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from bot.journal import Reader

Truth = Mapping[str, Any]
NEAR = Decimal("1e-8")
BASES = {"BTCUSDT": "BTC", "ETHUSDT": "ETH"}
SLACK = Decimal("1.03")  # the market may move between the gate's price and the fill
OPEN = ("NEW", "PARTIALLY_FILLED")


@dataclass
class Ledger:
    """What a journal knows: orders that were decided, with their fills; sessions."""

    bot: str
    orders: dict[int, dict[str, Any]] = field(default_factory=dict)
    filled: defaultdict[int, Decimal] = field(default_factory=lambda: defaultdict(Decimal))  # signed
    sessions: dict[int, str] = field(default_factory=dict)  # of each order
    fees_base: defaultdict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    outside: int = 0
    funding: Decimal = Decimal(0)  # paid
    alarms: list[str] = field(default_factory=list)

    def held(self, symbol: str) -> Decimal:
        """Quantity that the journal's fills add up to, fees in the coin taken off."""
        numbers = [number for number, order in self.orders.items() if order["symbol"] == symbol]
        return sum((self.filled[number] for number in numbers), Decimal(0)) - self.fees_base[symbol]


def read(account: Path) -> Ledger:
    """Read the journal of an account's folder."""
    reader = Reader(account / "journal.sqlite")
    try:
        ledger = Ledger(str(reader.header["bot"]))
        session = ""
        for record in reader.records():
            if record.kind == "session":
                session = str(record.body["session"])
            elif record.kind == "event" and record.body["is"] == "Outside":
                ledger.outside += 1
            elif record.kind == "event" and record.body["is"] == "Funding":
                ledger.funding += Decimal(repr(record.body["amount"]))
            elif record.kind == "event" and record.body["is"] == "Condition" and record.body["on"]:
                ledger.alarms.append(f"{record.body['cause']}: {record.body['text']}")
            elif record.kind == "step":
                _take(ledger, record.body, session)
        return ledger
    finally:
        reader.close()


def _take(ledger: Ledger, body: Mapping[str, Any], session: str) -> None:
    for order in body.get("orders", ()):
        ledger.orders[int(order["id"])] = dict(order)
        ledger.sessions[int(order["id"])] = session
    for fill in body.get("fills", ()):
        ledger.filled[int(fill["order"])] += Decimal(repr(fill["qty"]))
        ledger.fees_base[str(fill["symbol"])] += Decimal(repr(fill["fee_base"]))


def faults(
    truth: Truth, ledger: Ledger, *, foreign: Mapping[str, str], limits: Mapping[str, Any], quiet: bool = True
) -> list[str]:
    """Everything that is wrong; empty when nothing is.

    Parameters
    ----------
    foreign : mapping
        What of each coin isn't the bot's; the quote coin is left out.
    limits : mapping
        The configuration's [limits], amounts as text.
    quiet : bool
        Nothing is under way any more: working orders, holdings and protection have to fit, too.
    """
    ours = [one for one in truth["orders"] if str(one["client_id"]).startswith(ledger.bot)]
    found = [*doubled(ours), *unknown(ours, ledger), *_oversold(truth, ours, foreign)]
    found += [*_limits(truth, ours, limits), *others(truth, ledger)]
    if quiet:
        found += [*booked(ours, ledger), *_held(truth, ledger, foreign), *_protected(truth, ours, foreign)]
    return found


def number_of(order: Mapping[str, Any]) -> int:
    """The desk's number in a client id."""
    return int(str(order["client_id"])[16:], 16)


def doubled(ours: list[Any]) -> list[str]:
    """No order twice: neither a client id nor a number of the desk."""
    ids, numbers = Counter(one["client_id"] for one in ours), Counter(number_of(one) for one in ours)
    twice = [f"client id {name} stands {count} times" for name, count in ids.items() if count > 1]
    return twice + [f"order {number} was sent {count} times" for number, count in numbers.items() if count > 1]


def unknown(ours: list[Any], ledger: Ledger) -> list[str]:
    """No order that the journal didn't have first, and none other than it had."""
    found = []
    for one in ours:
        known = ledger.orders.get(number_of(one))
        if known is None:
            found.append(f"order {one['client_id']} isn't in the journal")
            continue
        sides = {"buy": 1, "sell": -1}
        same = (
            known["symbol"].partition(":")[0].replace("/", "") == one["symbol"] and known["side"] == sides[one["side"]]
        )
        if not same or Decimal(str(one["qty"])) > Decimal(repr(known["qty"])) + NEAR:
            found.append(f"order {one['client_id']} isn't the one that was decided: {one} {known}")
        if ledger.sessions[number_of(one)] != str(one["client_id"])[8:16]:
            found.append(f"order {one['client_id']} was decided by session {ledger.sessions[number_of(one)]}")
    return found


def _oversold(truth: Truth, ours: list[Any], foreign: Mapping[str, str]) -> list[str]:
    """At no moment was more sold than bought: what is foreign was never touched."""
    numbers = {one["id"] for one in ours}
    held: defaultdict[str, Decimal] = defaultdict(Decimal)
    found = []
    for trade in sorted(truth["trades"], key=lambda one: (int(one["ms"]), int(one["order_id"]), int(one["id"]))):
        if trade["order_id"] not in numbers:
            continue
        base = BASES[trade["symbol"]]
        held[base] += Decimal(str(trade["qty"])) * (1 if trade["side"] == "buy" else -1)
        if trade["fee_coin"] == base:
            held[base] -= Decimal(str(trade["fee"]))
        if held[base] < -NEAR:
            found.append(f"trade {trade['id']} of {trade['symbol']} sold {-held[base]} that weren't ours")
    return found


def _limits(truth: Truth, ours: list[Any], limits: Mapping[str, Any]) -> list[str]:
    """No entry beyond the limit of an order, no position beyond the limit of a position, no minute beyond its count."""
    found = []
    order_most, position_most = Decimal(limits["order_notional"]), Decimal(limits["position_notional"])
    trades: defaultdict[int, list[Any]] = defaultdict(list)
    for trade in truth["trades"]:
        trades[trade["order_id"]].append(trade)
    held: defaultdict[str, Decimal] = defaultdict(Decimal)
    by_id = {one["id"]: one for one in ours}
    for one in ours:
        worth = sum((Decimal(str(t["qty"])) * Decimal(str(t["price"])) for t in trades[one["id"]]), Decimal(0))
        if one["side"] == "buy" and worth > order_most * SLACK:
            found.append(f"order {one['client_id']} bought for {worth}, more than {order_most}")
    for trade in sorted(truth["trades"], key=lambda one: int(one["ms"])):
        if trade["order_id"] in by_id:
            sign = 1 if trade["side"] == "buy" else -1
            held[trade["symbol"]] += Decimal(str(trade["qty"])) * sign
            worth = held[trade["symbol"]] * Decimal(str(trade["price"]))
            if sign > 0 and worth > position_most * SLACK:
                found.append(f"{trade['symbol']} came to {worth}, more than {position_most}")
    entries = sorted(int(one["created_ms"]) for one in ours if one["side"] == "buy")
    most = int(limits["orders_per_minute"])
    for at, first in enumerate(entries):
        count = sum(1 for ms in entries[at:] if ms < first + 60_000)
        if count > most:
            found.append(f"{count} entries in a minute, more than {most}")
            break
    return found


def others(truth: Truth, ledger: Ledger) -> list[str]:
    """Nobody but its owner ended a foreign order."""
    others = [one for one in truth["orders"] if not str(one["client_id"]).startswith(ledger.bot)]
    return [f"foreign order {one['client_id']} was cancelled" for one in others
            if one["status"] == "CANCELED" and one["reason"] != "by hand"]  # fmt: skip


def booked(ours: list[Any], ledger: Ledger) -> list[str]:
    """Every fill of the venue is in the journal, and no other."""
    found = []
    there = {number_of(one): Decimal(str(one["filled"])) for one in ours}
    for number in ledger.orders:
        filled, booked = there.get(number, Decimal(0)), abs(ledger.filled[number])
        if abs(filled - booked) > NEAR:
            found.append(f"order {number} filled {filled} at the venue and {booked} in the journal")
    return found


def _held(truth: Truth, ledger: Ledger, foreign: Mapping[str, str]) -> list[str]:
    """The venue holds what is foreign and what the journal says is ours."""
    found = []
    for symbol, base in (("BTC/USDT", "BTC"), ("ETH/USDT", "ETH")):
        total, known = _total(truth, base), ledger.held(symbol)
        if not ledger.outside and abs(total - Decimal(foreign.get(base, "0")) - known) > NEAR:
            found.append(f"{base}: the venue holds {total}, of it {foreign.get(base, 0)} foreign, the journal {known}")
    return found


def _protected(truth: Truth, ours: list[Any], foreign: Mapping[str, str]) -> list[str]:
    """Every position that can be sold has a stop at the venue for all of it, and no more than that."""
    found = []
    for symbol, base, lot in (("BTCUSDT", "BTC", "0.00001"), ("ETHUSDT", "ETH", "0.0001")):
        qty = _total(truth, base) - Decimal(foreign.get(base, "0"))
        price = Decimal(truth["prices"][symbol])
        whole = qty // Decimal(lot) * Decimal(lot)
        stops = [one for one in ours if one["symbol"] == symbol and one["kind"] == "stop" and one["status"] in OPEN]
        covered = sum((Decimal(str(one["qty"])) - Decimal(str(one["filled"])) for one in stops), Decimal(0))
        least = Decimal("5.5")  # what the venue takes as an order at all
        if whole * price >= least and covered < whole:
            found.append(f"{whole} {base} held, stops for {covered}")
        if covered > max(whole, Decimal(0)) + NEAR:
            found.append(f"stops for {covered} {base}, but {whole} held")
    return found


def _total(truth: Truth, coin: str) -> Decimal:
    held = truth["balances"].get(coin, {"free": "0", "locked": "0"})
    return Decimal(held["free"]) + Decimal(held["locked"])
