"""What is known of each of our orders at the venue, and which reports follow from it: pure, without time or network.

Laws: trades are booked once, by symbol and id; what the venue says of filled quantity only grows; a terminal state is
never left; a terminal report comes after all trades that belong before it. A report is only made when the desk's
table of states (`risk.orders`) has that move.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal

from bot.events import Report
from bot.exchange.grid import number, plain
from bot.exchange.ids import Ids
from bot.exchange.wire import OrderView, TradeView
from risk.orders import ACKED, PARTIAL, SENT, UNKNOWN
from risk.records import STOP, TAKE

ZERO = Decimal(0)
ENDED_KEPT = 4096
UNATTRIBUTED_KEPT = 1000
NEAR = Decimal("1e-9")  # of an order's quantity: less is a rounding of somebody's double


@dataclass(frozen=True, kw_only=True)
class OrderFacts:
    """A working order as the desk has it.

    side 1 or -1; kind, purpose and state as numbered in `risk`; sent_ns when it was handed to the venue's side; trades
    the ids of those that the desk has booked for it; price its limit, or what it may be worth per unit; leaving: its
    cancel was asked for, which may never have left.
    """

    order: int
    symbol: str
    side: int
    kind: int
    purpose: int
    qty: float
    filled: float
    state: int
    session: str
    sent_ns: int
    price: float = 0.0
    trades: tuple[str, ...] = ()
    leaving: bool = False


@dataclass(kw_only=True)
class Standing:
    """One order of ours. Quantities in base units; `desk` is the state that our reports have brought the desk's to."""

    order: int
    client_id: str
    symbol: str
    side: int
    protective: bool
    qty: Decimal
    price: float
    first_ns: int  # before it, the venue can't have it
    sent_ns: int  # after it, it can't leave any more
    desk: int = SENT
    placing: bool = False  # its intent waits for an answer
    venue_id: str = ""
    acked: bool = False  # the venue is known to have it, or to have had it
    unknown: bool = False  # its outcome isn't known
    verify: bool = False  # has to be looked up: something doesn't fit
    leaving: bool = False  # it shall be cancelled
    told: Decimal = ZERO  # sum of the trades told
    filled: Decimal = ZERO  # the most that the venue said was filled
    trades: set[str] = field(default_factory=set)
    ending: str = ""  # how the venue says that it ended; its trades may be missing yet
    ended: str = ""
    missed_ns: int = 0  # when the venue first didn't know it although it had
    version: int = 0  # grows with all that is heard of it

    @property
    def lacking(self) -> bool:
        """The venue says that more was filled than trades were told."""
        return not self.ended and self.filled - self.told > NEAR * self.qty

    @property
    def unsettled(self) -> bool:
        """Somebody has to go after it."""
        return not self.ended and (self.unknown or self.verify or self.leaving or self.lacking)

    @property
    def rest(self) -> Decimal:
        """Quantity not told as filled."""
        return max(self.qty - self.told, ZERO)


def _is_cut(view: OrderView, o: Standing) -> bool:
    """Whether the venue took some of its quantity off: of what only reduces, when less was left of the position."""
    whole = number(view.qty)
    return ZERO < whole == number(view.filled) < o.qty * (1 - NEAR)


Fees = Callable[[TradeView], tuple[float, float, float]]


class OrdersBook:
    """All orders of ours since the start, and those that stood then.

    Parameters
    ----------
    ids : Ids
        Whose an order is.
    fees : callable
        Of a trade: whole fee in quote, the part in the coin bought, the worth of what was taken elsewhere. Called once
        for each trade that is told.
    now_ns : callable
        Time of day.
    """

    def __init__(self, ids: Ids, fees: Fees, now_ns: Callable[[], int]) -> None:
        self.ids = ids
        self._fees = fees
        self._now_ns = now_ns
        self._orders: dict[int, Standing] = {}
        self._venue_ids: dict[tuple[str, str], int] = {}
        self._ended: list[int] = []
        self.unattributed: list[TradeView] = []
        self.strays: list[TradeView] = []  # trades of orders that had ended: nobody's, a person has to look

    # --- who is there -------------------------------------------------------------------------------------------------
    def __iter__(self) -> Iterator[Standing]:
        return iter([o for o in self._orders.values() if not o.ended])

    def get(self, order: int) -> Standing | None:
        """By the desk's number, ended ones too."""
        return self._orders.get(order)

    def find(self, client_id: str, *, symbol: str = "", venue_id: str = "") -> Standing | None:
        """By client id, else by the venue's own id; None when it isn't ours or isn't known."""
        if self.ids.owner(client_id) == "ours":
            found = self._orders.get(self.ids.order(client_id))
            return found if found is not None and found.client_id == client_id else None
        if client_id:
            return None
        number_there = self._venue_ids.get((symbol, venue_id))
        return None if number_there is None else self._orders.get(number_there)

    def add(self, standing: Standing) -> Standing:
        """Take in an order that is about to be sent."""
        self._orders[standing.order] = standing
        return standing

    def restore(self, facts: OrderFacts, *, latest_ns: int) -> list[Report]:
        """Take in an order that stood when the bot ended; it can't have left after latest_ns."""
        standing = self.add(
            Standing(
                order=facts.order, client_id=self.ids.make(facts.order, facts.session), symbol=facts.symbol,
                side=facts.side, protective=facts.kind in (STOP, TAKE), qty=Decimal(repr(facts.qty)),
                price=facts.price, first_ns=facts.sent_ns, sent_ns=latest_ns, desk=facts.state,
                acked=facts.state in (ACKED, PARTIAL), told=Decimal(repr(facts.filled)), trades=set(facts.trades),
                verify=True, leaving=facts.leaving,
            )
        )  # fmt: skip
        standing.filled = standing.told
        if standing.acked or standing.told > ZERO:
            standing.acked = True
            return []
        return self.doubt(standing)

    # --- what is heard ------------------------------------------------------------------------------------------------
    def see(self, view: OrderView, standing: Standing | None = None) -> list[Report]:
        """Hear of an order as the venue has it."""
        o = standing or self.find(view.client_id, symbol=view.symbol, venue_id=view.venue_id)
        if o is None or o.ended:
            return []
        o.version += 1
        filled = number(view.filled)
        o.acked, o.unknown, o.verify, o.missed_ns = True, False, False, 0
        reports = self._name(o, view.venue_id)
        if o.ended:
            return reports
        o.filled = max(o.filled, o.qty if view.status == "filled" and not _is_cut(view, o) else filled)
        if view.status != "open" and not o.ending:
            o.ending = view.status
        if not o.ending and o.desk in (SENT, UNKNOWN):
            o.desk = ACKED if o.told == ZERO else PARTIAL
            reports.append(self._report(o, "acked"))
        return reports + self._settle(o)

    def trade(self, view: TradeView) -> list[Report]:
        """Hear of a trade of ours, of somebody else's, or of one that can't be told yet."""
        o = self.find(view.client_id, symbol=view.symbol, venue_id=view.venue_id)
        if o is not None:
            return self._book(o, view)
        if not view.client_id and all(t.trade_id != view.trade_id for t in self.unattributed):
            self.unattributed.append(view)
            del self.unattributed[:-UNATTRIBUTED_KEPT]
        return []

    def maybe_its(self, o: Standing) -> bool:
        """True when a trade that nobody could attribute may be of this order: then it can't be called lost."""
        return any(
            t.symbol == o.symbol and (t.side == "buy") == (o.side > 0) and t.ns >= o.first_ns - 10**9
            and number(t.qty) <= o.rest for t in self.unattributed
        )  # fmt: skip

    # --- what we conclude ---------------------------------------------------------------------------------------------
    def doubt(self, o: Standing, *, latest_ns: int | None = None) -> list[Report]:
        """Its outcome isn't known: the desk counts it as filled for caps and as unfilled for exits."""
        if o.ended:
            return []
        if latest_ns is not None:
            o.sent_ns = max(o.sent_ns, latest_ns)
        o.unknown = True
        if o.desk == UNKNOWN:
            return []
        o.desk = UNKNOWN
        return [self._report(o, "unknown")]

    def refuse(self, o: Standing, text: str, *, passed: bool = False) -> list[Report]:
        """It certainly isn't at the venue and never was; passed: the price is past its stop."""
        return [replace(report, passed=passed) for report in self._end(o, "rejected", text)]

    def lose(self, o: Standing) -> list[Report]:
        """After the fence: it isn't there, has no trade, and can't come any more."""
        return self.doubt(o) + self._end(o, "lost", "not at the venue after the fence")

    def forget(self, o: Standing) -> list[Report]:
        """The venue had it, doesn't know it any more, and all its trades were told."""
        return self._end(o, "cancelled", "the venue doesn't know it any more")

    # --- inside -------------------------------------------------------------------------------------------------------
    def _name(self, o: Standing, venue_id: str) -> list[Report]:
        """Learn the venue's own id, and with it whose the trades were that had no client id."""
        if not venue_id or o.venue_id == venue_id:
            return []
        o.venue_id = venue_id
        self._venue_ids[o.symbol, venue_id] = o.order
        its = [t for t in self.unattributed if t.symbol == o.symbol and t.venue_id == venue_id]
        self.unattributed = [t for t in self.unattributed if t not in its]
        return [report for view in its for report in self._book(o, view)]

    def _book(self, o: Standing, view: TradeView) -> list[Report]:
        if view.trade_id in o.trades:
            return []
        qty, price = number(view.qty), number(view.price)
        if qty <= ZERO or price <= ZERO:
            raise ValueError(f"trade {view.trade_id} has quantity {view.qty} and price {view.price}")
        if o.ended or o.told + qty > o.qty * (1 + NEAR):
            self.strays.append(view)
        if o.ended:
            o.trades.add(view.trade_id)
            return []
        fee, fee_base, fee_elsewhere = self._fees(view)
        o.version += 1
        o.trades.add(view.trade_id)
        o.told += qty
        o.filled = max(o.filled, o.told)
        o.acked, o.unknown, o.missed_ns = True, False, 0
        o.desk = PARTIAL
        fill = Report(
            ns=self._now_ns(), order=o.order, what="filled", qty=float(qty), price=float(price), fee=fee,
            fee_base=fee_base, fee_elsewhere=fee_elsewhere, maker=view.maker, trade=view.trade_id,
            venue_id=view.venue_id, venue_ns=view.ns,
        )  # fmt: skip
        return [fill, *self._name(o, view.venue_id), *self._settle(o)]

    def _settle(self, o: Standing) -> list[Report]:
        """End it when the venue said so and every trade is told."""
        if o.ended:
            return []
        if o.told >= o.qty * (1 - NEAR):
            self._close(o, "filled")
            return []
        if not o.ending or o.lacking:
            return []
        what = o.ending if o.ending in ("cancelled", "expired", "rejected") else "cancelled"
        if what == "rejected" and o.told > ZERO:
            what = "cancelled"
        return self._end(o, what, f"the venue says {o.ending}")

    def _end(self, o: Standing, what: str, text: str) -> list[Report]:
        if o.ended:
            return []
        self._close(o, what)
        return [self._report(o, what, text)]

    def _close(self, o: Standing, what: str) -> None:
        o.ended = what
        o.unknown = o.verify = o.leaving = False
        o.version += 1
        self._ended.append(o.order)
        if len(self._ended) > ENDED_KEPT:
            gone = self._orders.pop(self._ended.pop(0), None)
            if gone is not None:
                self._venue_ids.pop((gone.symbol, gone.venue_id), None)

    def _report(self, o: Standing, what: str, text: str = "") -> Report:
        note = text if not o.told else f"{text}; {plain(o.told)} filled".lstrip("; ")
        return Report(ns=self._now_ns(), order=o.order, what=what, venue_id=o.venue_id, text=note)
