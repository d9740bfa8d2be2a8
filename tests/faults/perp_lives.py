"""Lives of the real bot at a perpetual venue, killed by SIGKILL: its world, its seeds and the verdict on them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.faults import judge
from tests.faults.judge import NEAR, OPEN, SLACK, Ledger, Truth, number_of
from tests.faults.lives import QUICK, Life, Tape
from tests.faults.nursery import Nursery
from tests.faults.perp_world import BTC, ETH, NAMES, PRICES, STRATEGY
from tests.faults.schedules import BOUNDS, Story
from tests.venue.bybit import LocalPerpVenue
from tests.venue.faults import Fault

PERP_BOUNDS = {**BOUNDS, "gross_leverage": 3.0, "gross_notional": "20000", "net_notional": "20000"}
RUN = {"symbols": [BTC, ETH], "market": "perp", "leverage": 3, "decision_delay": "150ms"}


@asynccontextmanager
async def world(nursery: Nursery, folder: Path) -> AsyncIterator[tuple[LocalPerpVenue, Life, Tape]]:
    """A venue, a bot that isn't born yet, and bars."""
    folder.mkdir(parents=True, exist_ok=True)
    async with LocalPerpVenue(balances={"USDT": "15000"}, prices=PRICES) as venue:
        urls = {"rest": venue.rest_url, "stream": venue.rest_url.replace("http", "ws")}
        exchange = {**QUICK["exchange"], "id": "bybit"}
        key = (venue.key.api, venue.key.secret)
        life = PerpLife(nursery, folder, urls, strategy=STRATEGY, run=RUN, limits=PERP_BOUNDS, exchange=exchange)
        life.key = key
        try:
            yield venue, life, Tape(venue, PRICES)
        finally:
            if life.lives:
                await life.kill()
            life.sweep()


class PerpLife(Life):
    """With the key of this venue."""

    key = ("", "")

    def start(self, **more: Any) -> None:
        """See `Life.start`."""
        super().start(**{"key": self.key, **more})


class PerpStory(Story):
    """One seed's world of perpetuals while it lasts."""

    venue: LocalPerpVenue

    def faults(self) -> list[Fault]:
        """Those that this venue has."""
        return [one for one in super().faults() if one.command.get("do") != "limits"]

    def somebody(self) -> None:
        """Funding is paid; or somebody's order stands far away, which takes margin of the same account."""
        what = self.rng.choice(("funding", "funding", "far"))
        if what == "funding":
            self.venue.pay_funding(self.rng.choice(list(PRICES)), f"{self.rng.uniform(-0.0005, 0.0005):.6f}")
        else:
            price = self.venue.engine.books["BTCUSDT"].price * Decimal("1.5")
            self.venue.foreign("BTCUSDT", "sell", "limit", "0.001", limit=price.quantize(Decimal("0.1")))

    def wrong(self, truth: Truth, ledger: Ledger, *, quiet: bool) -> list[str]:
        """See `faults`."""
        return faults(truth, ledger, limits=PERP_BOUNDS, quiet=quiet)


def faults(truth: Truth, ledger: Ledger, *, limits: Mapping[str, Any], quiet: bool) -> list[str]:
    """Everything that is wrong by the venue's own orders, trades, positions and funding; see `judge.faults`."""
    ours = [one for one in truth["orders"] if str(one["client_id"]).startswith(ledger.bot)]
    found = [*judge.doubled(ours), *judge.unknown(ours, ledger), *judge.others(truth, ledger)]
    found += _limits(truth, ours, limits)
    if quiet:
        found += [*judge.booked(ours, ledger), *_held(truth, ledger), *_protected(truth, ours)]
        paid = sum((Decimal(str(one["amount"])) for one in truth["fundings"]), Decimal(0))
        if abs(paid - ledger.funding) > NEAR:
            found.append(f"funding: {paid} were paid at the venue, {ledger.funding} in the journal")
    return found


def _limits(truth: Truth, ours: list[Any], limits: Mapping[str, Any]) -> list[str]:
    """No entry beyond an order's limit or a minute's count, no position beyond its limit, no turn by one order."""
    found = []
    order_most, position_most = Decimal(limits["order_notional"]), Decimal(limits["position_notional"])
    by_id = {one["id"]: one for one in ours}
    worth: defaultdict[int, Decimal] = defaultdict(Decimal)
    held: defaultdict[str, Decimal] = defaultdict(Decimal)
    for trade in sorted(truth["trades"], key=lambda one: (int(one["ms"]), int(one["id"]))):
        order = by_id.get(trade["order_id"])
        if order is None:
            continue
        qty, price = Decimal(str(trade["qty"])), Decimal(str(trade["price"]))
        signed, before = qty * (1 if trade["side"] == "buy" else -1), held[trade["symbol"]]
        after = held[trade["symbol"]] = before + signed
        if order["reduce_only"]:
            if before * signed >= 0 or before * after < -NEAR:
                found.append(f"order {order['client_id']} only reduces, and made {before} to {after}")
            continue
        worth[order["id"]] += qty * price
        if before * signed < 0:
            found.append(f"order {order['client_id']} is an entry, and made {before} to {after}")
        if abs(after) * price > position_most * SLACK:
            found.append(f"{trade['symbol']} came to {abs(after) * price}, more than {position_most}")
    for number, value in worth.items():
        if value > order_most * SLACK:
            found.append(f"order {by_id[number]['client_id']} was worth {value}, more than {order_most}")
    entries = sorted(int(one["created_ms"]) for one in ours if not one["reduce_only"])
    counts = [sum(first <= ms < first + 60_000 for ms in entries) for first in entries]
    if counts and max(counts) > int(limits["orders_per_minute"]):
        found.append(f"{max(counts)} entries in a minute, more than {limits['orders_per_minute']}")
    return found


def _held(truth: Truth, ledger: Ledger) -> list[str]:
    """The venue's positions are what the journal's fills add up to."""
    there = {one["symbol"]: Decimal(str(one["qty"])) for one in truth["positions"]}
    return [
        f"{symbol}: {there.get(name, 0)} at the venue, {ledger.held(symbol)} in the journal"
        for symbol, name in NAMES.items()
        if not ledger.outside and abs(there.get(name, Decimal(0)) - ledger.held(symbol)) > NEAR
    ]


def _protected(truth: Truth, ours: list[Any]) -> list[str]:
    """Every position has a stop at the venue for all of it, on the right side, and no more than that."""
    found = []
    there = {one["symbol"]: Decimal(str(one["qty"])) for one in truth["positions"]}
    for name in NAMES.values():
        qty = there.get(name, Decimal(0))
        stops = [one for one in ours if one["symbol"] == name and one["kind"] == "stop" and one["status"] in OPEN]
        signs = {"buy": 1, "sell": -1}
        covered = sum((signs[one["side"]] * (Decimal(str(one["qty"])) - Decimal(str(one["filled"]))) for one in stops),
                      Decimal(0))  # fmt: skip
        if covered != -qty:
            found.append(f"{qty} {name} held, stops for {covered}: {[number_of(one) for one in stops]}")
    return found
