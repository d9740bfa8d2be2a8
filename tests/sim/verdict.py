"""Judges a world by the exchange's own books: what its bot did, has, and wrote down."""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from typing import Any

from backtest.facts import coins_of
from bot.exchange.ids import client_id
from bot.journal.chain import GENESIS, canonical, digest
from bot.replay import replay_batch, replay_engine
from risk.orders import ACKED, CANCELLED, EXPIRED, FILLED, LOST, PARTIAL, REJECTED, STATES
from risk.records import HALTED, KINDS, STOP, TAKE
from tests.sim.exchange import Truth
from tests.sim.life import BOT, engine_of
from tests.sim.matching import SimOrder, SimTrade
from tests.sim.plan import CASH
from tests.sim.world import World

STATUS = {FILLED: "filled", CANCELLED: "cancelled", EXPIRED: "expired", ACKED: "open", PARTIAL: "open"}
NEAR = Decimal("1e-7")
LOT = Decimal("0.001")
MOVED = Decimal("1.03")  # what a price may do between a verdict and its trade
ZERO = Decimal(0)
MINUTE_NS = 60 * 10**9


def faults_of(world: World) -> list[str]:
    """All that is wrong, in words."""
    found = list(world.troubles)
    for life in world.lives:
        life.fence.check()
    found += _chain(world) + _replays(world)
    if world.outside:
        book = Book(world)
        found += book.orders() + book.trades() + book.coins() + book.protection() + book.limits() + book.rate()
    return found


def _chain(world: World) -> list[str]:
    before = GENESIS
    for seq, ns, kind, text, stored in world.journal._rows:
        before = digest(before, seq, ns, kind, text)
        if before != stored or canonical(json.loads(text)) != text:
            return [f"the chain breaks at record {seq}"]
    return []


def _replays(world: World) -> list[str]:
    spec = world.spec
    found = replay_engine(engine_of(spec, outside=world.outside), world.journal)
    texts = [] if found.none else [f"replay by the engine: {found.body()}"]
    batch = replay_batch(spec, coins_of(spec), world.journal, outside=world.outside, stops=True)
    return texts if batch.none else [*texts, f"replay in the batch form: {batch.body()}"]


class Book:
    """What the journal says beside what the exchange says."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.truth: Truth = world.exchange.truth()
        self.desk = world.life.engine.desk
        self.symbols = tuple(world.spec.symbols)
        self.told: dict[str, dict[str, Any]] = {}  # by client id: the last that was written of an order
        self.numbers: dict[int, str] = {}
        self.fills: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self._read()
        self.ours = {key: orders for key, orders in self.truth.orders.items() if key.startswith(BOT)}

    def _read(self) -> None:
        session = ""
        for record in self.world.journal.records(kinds=("session", "step")):
            if record.kind == "session":
                session = record.body["session"]
                continue
            for order in record.body.get("orders", []):
                self.numbers[order["id"]] = client_id(bot_id=BOT, session=session, order=order["id"])
                self.told[self.numbers[order["id"]]] = order
            for order in record.body.get("ended", []):
                self.told[self.numbers[order["id"]]] = order
            for fill in record.body.get("fills", []):
                self.fills[fill["order"]].append(fill)

    def orders(self) -> list[str]:
        """None lost, none doubled, none unknown to the journal; each as the exchange has it."""
        strange = self.ours.keys() - self.told.keys()
        found = [f"{key} is at the venue, the journal knows nothing of it" for key in strange]
        working = {int(o["id"]): int(o["state"]) for o in self.desk.working}
        for key, order in self.told.items():
            there = self.ours.get(key, [])
            state = working.get(order["id"], STATES.index(order["state"]))
            name = f"order {order['id']} ({order['kind']} {order['purpose']} {STATES[state]})"
            if len(there) > 1:
                found.append(f"{name} is {len(there)} times at the venue")
            if state in (LOST, REJECTED):
                found += [f"{name} is at the venue: {one.status}" for one in there]
            elif not there:
                found.append(f"{name} isn't at the venue")
            elif STATUS.get(state) != there[0].status and not (state == CANCELLED and _is_cut(there[0], order)):
                found.append(f"{name} is {there[0].status} at the venue")
        return found

    def trades(self) -> list[str]:
        """Every trade booked once, at its price."""
        found = []
        for key, order in self.told.items():
            made = sorted((t.order.side * t.qty, t.price) for t in self.truth.trades.get(key, []))
            booked = self.fills.get(order["id"], [])
            have = sorted((_exact(f["qty"]), _exact(f["price"])) for f in booked)
            if made != have:
                found.append(f"order {order['id']}: booked {_pairs(have)}, made were {_pairs(made)}")
        return found

    def coins(self) -> list[str]:
        """The desk's holding is the sum of its trades; with what is foreign it makes the account."""
        if self.world.kind == "perp":
            return self._positions()
        found = []
        foreign = self._foreign()
        holds, paid = self._sums()
        for k, symbol in enumerate(self.symbols):
            coin = symbol.split("/")[0]
            held = Decimal(float(self.desk.books["qty"][k]))
            if coin not in self.world.robbed and abs(held - holds[symbol]) > NEAR:
                found.append(f"{coin}: the desk has {held:.6f}, its trades make {holds[symbol]:.6f}")
            found += self._coin(coin, held, foreign, LOT)
        account = self.desk.account
        cash = Decimal(float(account["cash"] + account["elsewhere"]))
        return found + ([] if "USDT" in self.world.robbed else self._quote(cash, paid, foreign))

    def _foreign(self) -> dict[str, Decimal]:
        memory = self.world.lives[-1].venue.memory()  # type: ignore[attr-defined]
        return {coin: Decimal(text) for coin, text in memory.get("foreign", {}).items()}

    def _quote(self, cash: Decimal, paid: Decimal, foreign: dict[str, Decimal]) -> list[str]:
        found = []
        if abs(cash - Decimal(repr(CASH)) - paid) > Decimal("1e-4"):
            found.append(f"the desk has {cash:.4f} of quote, its trades make {Decimal(repr(CASH)) + paid:.4f}")
        return found + self._coin("USDT", cash, foreign, Decimal("0.02"))

    def _positions(self) -> list[str]:
        holds, _ = self._sums()
        found = []
        for k, symbol in enumerate(self.symbols):
            held, there = Decimal(float(self.desk.books["qty"][k])), self.truth.positions.get(symbol, ZERO)
            if abs(held - there) > NEAR or abs(held - holds[symbol]) > NEAR:
                found.append(f"{symbol}: the desk has {held:.6f}, the account {there}, trades make {holds[symbol]:.6f}")
        paid = sum((Decimal(view.amount) for view in self.world.exchange.matching.fundings), ZERO)
        booked = Decimal(float(self.desk.account["funding"]))
        if abs(paid - booked) > Decimal("1e-6"):
            found.append(f"funding of {paid:.6f} was paid, {booked:.6f} is booked")
        return found

    def _coin(self, coin: str, ours: Decimal, foreign: dict[str, Decimal], dust: Decimal) -> list[str]:
        found = []
        total, theirs = self.truth.balances.get(coin, ZERO), foreign.get(coin, ZERO)
        if abs(total - ours - theirs) > dust:
            found.append(f"{coin}: the account holds {total:.6f}, ours {ours:.6f} and foreign {theirs:.6f}")
        actual = self.world.foreign.get(coin, ZERO)
        if coin not in self.world.robbed and abs(total - ours - actual) > NEAR * 1000:
            found.append(f"{coin}: {total - ours:.6f} of the account isn't ours, foreign are {actual:.6f}")
        return found

    def _sums(self) -> tuple[dict[str, Decimal], Decimal]:
        holds, paid = defaultdict(lambda: ZERO), ZERO
        for trade in self._mine():
            symbol, coin = trade.order.symbol, trade.order.symbol.split("/")[0]
            holds[symbol] += trade.order.side * trade.qty
            paid -= trade.order.side * trade.qty * trade.price
            if trade.fee_coin == "USDT":
                paid -= trade.fee
            elif trade.fee_coin == coin and trade.order.side > 0:
                holds[symbol] -= trade.fee
        return holds, paid

    def _mine(self) -> list[SimTrade]:
        return [t for t in self.world.exchange.matching.trades if t.order.client_id.startswith(BOT)]

    def protection(self) -> list[str]:
        """Every position has its stop at the exchange, for all that can be sold, unless it is being left."""
        found = []
        for k, symbol in enumerate(self.symbols):
            book = self.desk.books[k]
            size = Decimal(float(book["qty"])) // LOT * LOT
            if size * Decimal(float(book["last"])) < Decimal("5.05"):
                continue
            stops = [
                o for orders in self.ours.values() for o in orders
                if o.symbol == symbol and o.status == "open" and o.kind in (KINDS[STOP], KINDS[TAKE])
            ]  # fmt: skip
            rest = sum((o.rest for o in stops), ZERO)
            leaving = book["work_exit"] > 0.0 or book["target"] == 0.0
            if not leaving and abs(rest - size) > LOT:
                found.append(f"{symbol}: {size} are held, stops stand for {rest}")
            if leaving and self.desk.account["level"] != HALTED and book["work_exit"] == 0.0:
                found.append(f"{symbol}: {size} shall be sold, and nothing sells")
        return found

    def limits(self) -> list[str]:
        """Nothing above its limit, order, position or sum, at the exchange's own prices; nothing foreign sold."""
        limits, found = self.world.spec.limits, []
        most = Decimal(repr(limits.order_notional)) * MOVED
        for key, orders in self.ours.items():
            worth = orders[0].qty * Decimal(repr(self.told[key]["ref"])) if key in self.told else ZERO
            if worth > most and self.told[key]["kind"] not in (KINDS[STOP], KINDS[TAKE]):
                found.append(f"order {self.told[key]['id']} was worth {worth:.2f}")
        held: dict[str, Decimal] = defaultdict(lambda: ZERO)
        for trade in self._mine():
            coin = trade.order.symbol
            fee = trade.fee if trade.fee_coin == coin.split("/")[0] and trade.order.side > 0 else ZERO
            held[coin] += trade.order.side * trade.qty - fee
            if held[coin] < -NEAR and coin.split("/")[0] not in self.world.robbed:
                found.append(f"trade {trade.number} sold {-held[coin]:.6f} {coin} that weren't ours")
            if trade.order.side < 0:
                continue
            left = {symbol: max(held[symbol] - self._taken(symbol.split("/")[0], trade.at_s), ZERO) for symbol in held}
            if left[coin] * trade.price > Decimal(repr(limits.position_notional)) * MOVED:
                found.append(f"trade {trade.number}: {left[coin] * trade.price:.2f} of {coin} held")
            # At one price: they begin alike, and stay within MOVED of each other.
            gross = sum((left[symbol] * trade.price for symbol in left), ZERO)
            if gross > Decimal(repr(limits.gross_notional)) * MOVED * MOVED:
                found.append(f"trade {trade.number}: {gross:.2f} held in all")
        return found

    def _taken(self, coin: str, at_s: float) -> Decimal:
        """What somebody had taken of a coin by then: the bot buys what it no longer has."""
        return sum((amount for when_s, what, amount in self.world.taken if what == coin and when_s <= at_s), ZERO)

    def rate(self) -> list[str]:
        """Entries in any minute, by the time of their decision."""
        limits = self.world.spec.limits
        most = int(limits.orders_per_minute * (1.0 - limits.exit_reserve))
        times = sorted(o["decided_ns"] for o in self.told.values() if o["purpose"] == "entry")
        late = [b for a, b in zip(times, times[most:], strict=False) if b - a < MINUTE_NS]
        return [f"more than {most} entries within a minute, {len(late)} times"] if late else []


def _is_cut(there: SimOrder, order: dict[str, Any]) -> bool:
    """Whether the exchange took some of its quantity off and filled the rest: the position was smaller."""
    return there.status == "filled" and there.qty < _exact(order["qty"])


def _exact(value: float) -> Decimal:
    return Decimal(repr(value)).quantize(Decimal("1e-9"))


def _pairs(rows: list[tuple[Decimal, Decimal]]) -> str:
    return "[" + ", ".join(f"{qty.normalize():f} at {price.normalize():f}" for qty, price in rows) + "]"
