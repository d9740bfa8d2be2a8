"""The desk: one wallet's whole state, how it is laid out, and what a bar's close does to it."""

from collections.abc import Mapping, Sequence

import numpy as np

from risk.execution import plan
from risk.gate import INTENTS
from risk.ladder import expire, mark
from risk.ledger import value
from risk.limits import Limits, MarketSpec
from risk.memory import HEADER, Ref, account_of, book_of, entry_points, f8_at, policy_of
from risk.novelty import heed
from risk.records import ACCOUNT, BOOK, CAUSES, EVENT, FILL, LATCH, LIMITS, MARKETS, ORDER, Array  # fmt: skip
from risk.tending import tend
from signals.jit import hot
from signals.jit import inner as kernel

LONG_AGO = -(2**62)
LOGS = ("fills", "events", "done")


LOG_SLACK = 64
LOG_PER_PLACE = 8  # log records that one bar row may add at the most, for each place of a working order


def orders_room(symbols: int) -> int:
    """Working orders a desk of so many symbols has places for."""
    return 8 * symbols + 96


class Desk:
    """One wallet's state: the arrays, and `ref`, the header record by which kernels reach them.

    account ACCOUNT[1], books BOOK[M], orders ORDER[K] (working, the first account.n_orders in order of id), limits
    LIMITS[1], markets MARKETS[M], policy POLICY[1], latches LATCH[CAUSES], tag_shares f8[T] (caps as shares of equity),
    rate i8[R], as many as fall into the larger rate limit, and repeats i8[M, 2, repeat_orders] (times of the last
    orders), intents i8[64], busy i8[M] (scratch of `plan`), and the logs fills FILL[n], events EVENT[n], done ORDER[n]
    (ended orders).
    """

    def __init__(self, **arrays: Array) -> None:
        self.arrays = arrays
        self._header = np.zeros(1, HEADER)
        self.point()

    def point(self) -> None:
        """Write down where the arrays lie; to be called when one was put in the place of another by hand."""
        sizes = {
            "symbols": len(self.arrays["books"]), "places": len(self.arrays["orders"]),
            "rate_places": len(self.arrays["rate"]), "log_places": min(len(self.arrays[log]) for log in LOGS),
        }  # fmt: skip
        places = {name: array.ctypes.data for name, array in self.arrays.items()}
        known = places | sizes | entry_points()
        self._header[0] = tuple(known.get(name, 0) for name in HEADER.names or ())

    @property
    def ref(self) -> Ref:
        """What kernels are handed."""
        return self._header[0]

    @property
    def account(self) -> Ref:
        """The ACCOUNT record."""
        return self.arrays["account"][0]

    @property
    def books(self) -> Array:
        """BOOK[M]."""
        return self.arrays["books"]

    @property
    def working(self) -> Array:
        """Working orders, ORDER[n]."""
        return self.arrays["orders"][: int(self.account["n_orders"])]

    @property
    def fills(self) -> Array:
        """Fills so far, FILL[n]."""
        return self.arrays["fills"][: int(self.account["n_fills"])]

    @property
    def events(self) -> Array:
        """Events so far, EVENT[n]."""
        return self.arrays["events"][: int(self.account["n_events"])]

    @property
    def done(self) -> Array:
        """Ended orders so far, ORDER[n]."""
        return self.arrays["done"][: int(self.account["n_done"])]

    @property
    def logs_are_full(self) -> bool:
        """What the kernel of that name says."""
        most = max(int(self.account[f"n_{log}"]) for log in LOGS)
        return most + LOG_PER_PLACE * len(self.arrays["orders"]) + LOG_SLACK > int(self._header["log_places"][0])

    def grow_logs(self) -> None:
        """Four times the room for the logs; never called while a kernel runs."""
        for name in LOGS:
            log, used = self.arrays[name], int(self.account[f"n_{name}"])
            bigger = np.empty(4 * len(log), log.dtype)  # what no record is written to costs nothing
            bigger[:used] = log[:used]
            self.arrays[name] = bigger
        self.point()

    def replace(self, name: str, array: Array) -> None:
        """Put another array of the same kind in the place of one; never called while a kernel runs.

        Raises
        ------
        ValueError
            It is of another kind, or of another number of symbols: kernels would read and write beside it.
        """
        mine = self.arrays[name]
        counted = name not in ("rate", "repeats", "tag_shares")
        if array.dtype != mine.dtype or array.ndim != mine.ndim or (counted and array.shape != mine.shape):
            raise ValueError(f"{name}: {array.dtype} {array.shape} can't stand for {mine.dtype} {mine.shape}")
        self.arrays[name] = np.ascontiguousarray(array)
        self.point()

    def obey(self, terms: Mapping[str, Array]) -> None:
        """Put other limits, policy, markets and caps of tags in force; raises ValueError as `replace` does.

        The windows of orders sent (controls 5 and 6) become as long as the limits want them, and keep the newest times.
        """
        for name, array in terms.items():
            self.replace(name, array)
        rate, repeats = _windows(self.arrays["limits"][0], len(self.books))
        head, mine = int(self.account["rate_head"]), self.arrays["rate"]
        if len(mine) != len(rate):
            newest = np.roll(mine, -head)[-len(rate) :]
            rate[-len(newest) :] = newest
            self.account["rate_head"] = 0
            self.replace("rate", rate)
        mine = self.arrays["repeats"]
        if mine.shape != repeats.shape:
            newest = mine[:, :, -repeats.shape[2] :]
            repeats[:, :, -newest.shape[2] :] = newest
            self.replace("repeats", repeats)

    def restart(self, first: "Desk") -> None:
        """Back to what `first`, of the same shape, holds; logs keep the room they have grown to."""
        for name, array in first.arrays.items():
            if name not in LOGS:
                self.arrays[name][:] = array

    def copy(self) -> "Desk":
        """A snapshot that shares nothing with this one."""
        return Desk(**{name: array.copy() for name, array in self.arrays.items()})


def make_desk(
    *, symbols: Sequence[str], cash: float, limits: Limits, markets: Mapping[str, MarketSpec], tags: Mapping[str, str],
    policy: Array, log: int = 4096,
) -> Desk:  # fmt: skip
    """A fresh desk with `cash` of allocation and no position.

    symbols gives the order of books; tags maps a symbol to its tag; policy is a POLICY[1] record; log the first size of
    the logs in records.
    """
    count = len(symbols)
    names = sorted({tags[symbol] for symbol in symbols if symbol in tags})
    account = np.zeros(1, ACCOUNT)
    for field in ("cash", "equity", "units", "day_mark"):
        account[field] = cash
    account["high"] = 1.0
    account["day_end_ns"] = LONG_AGO
    account["next_id"] = 1
    books = np.zeros(count, BOOK)
    books["target"] = np.nan
    books["room_ns"] = LONG_AGO
    rows = np.zeros(count, MARKETS)
    for k, symbol in enumerate(symbols):
        rows[k] = markets[symbol].record(names.index(tags[symbol]) if symbol in tags else -1)
    places = orders_room(count)
    size = max(log, 2 * (LOG_PER_PLACE * places + LOG_SLACK))
    bounds = np.zeros(1, LIMITS)
    bounds[0] = limits.record()
    rate, repeats = _windows(bounds[0], count)
    return Desk(
        account=account, books=books, orders=np.zeros(places, ORDER), limits=bounds, markets=rows, policy=policy.copy(),
        latches=np.zeros(CAUSES, LATCH),
        tag_shares=np.array([limits.tag_share.get(name, np.inf) for name in names] or [np.inf]),
        rate=rate, repeats=repeats,
        intents=np.full(INTENTS, -1, np.int64), busy=np.zeros(count, np.int64),
        fills=np.empty(size, FILL), events=np.empty(size, EVENT), done=np.empty(size, ORDER),
    )  # fmt: skip


def _windows(limits: Ref, symbols: int) -> tuple[Array, Array]:
    """(rate, repeats) of a desk that sent nothing yet; see `Desk`."""
    places = int(max(limits["orders_per_minute"], limits["orders_per_hour"]))
    rate = np.full(places, LONG_AGO, np.int64)
    return rate, np.full((symbols, 2, int(limits["repeat_orders"])), LONG_AGO, np.int64)


@hot
def logs_are_full(desk: Ref) -> bool:
    """True when one more bar row might not fit into the logs."""
    account = account_of(desk)
    most = max(account.n_fills, account.n_events, account.n_done)
    return most + LOG_PER_PLACE * desk.places + LOG_SLACK > desk.log_places


@kernel
def on_close(desk: Ref, ns: int, high: int, low: int, close: int, strange: int, risk_bar: bool) -> None:
    """The close of bars that end at `ns`, addresses of f8[M], NaN where a symbol has none: marks, time-outs, trailing,
    ladder.

    strange: address of u1[M], the symbols whose decision bar was unusual, or 0 when no decision bar ends here;
    risk_bar: the ladder moves here.
    """
    account = account_of(desk)
    account.now_ns = ns
    for k in range(desk.symbols):
        price = f8_at(close, k)
        if price > 0.0:
            book = book_of(desk, k)
            book.last = price
            book.last_ns = ns
    if account.level != 0:
        expire(desk, ns)
    if strange != 0:
        heed(desk, ns, strange)
    if account.n_orders > 0 or policy_of(desk).guarded != 0:
        tend(desk, ns, high, low, close)
    if risk_bar:
        mark(desk, ns)
    else:
        value(desk)
    if account.planning != 0:
        plan(desk, ns)
