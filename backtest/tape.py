"""What happens in a run and what is written down of it: the arrays, and the record by which the loop reaches them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from risk.memory import Ref, reader
from risk.records import Array
from signals.bare import kernel
from signals.jit import hot
from signals.raw import address_of, f8_at, u1_at

if TYPE_CHECKING:
    from backtest.feed import Feed

# What happens: n bar rows, d decisions, f fundings, M symbols, S signals; addresses of C-contiguous arrays, and sizes.
# The second half is what is written down: weights of each decision, equity at the close of each of b decision bars, and
# the rest of the account where it isn't what equity and fills tell (see `Tape.accounts`).
TAPE = np.dtype([
    ("open_ns", "i8"), ("close_ns", "i8"),  # i8[n]
    ("open", "i8"), ("high", "i8"), ("low", "i8"), ("close", "i8"), ("volume", "i8"),  # f8[n, M], NaN: no bar
    ("decides", "i8"), ("risk_bar", "i8"),  # u1[n]: a decision bar, a risk bar ends here
    ("plain", "i8"),  # u1[n]: PLAIN, ASKED_BEFORE or 0
    ("strange", "i8"),  # u1[b, M]: decision bars that are unusual
    ("decide_ns", "i8"), ("rows", "i8"), ("states", "i8"),  # i8[d], f8[d, M, W], u1[d, M]; see `width`
    ("funding_ns", "i8"), ("funding_symbol", "i8"), ("funding_rate", "i8"),  # i8[f], i8[f], f8[f]
    ("weights", "i8"), ("equity", "i8"), ("turns", "i8"),
    ("scratch", "i8"), ("holdings", "i8"), ("amounts", "i8"), ("params", "i8"), ("strategy", "i8"),
    ("width", "i8"),  # of a row: S signals, then the weight held; fed by stretches and blind: without it
    ("symbols", "i8"), ("n", "i8"), ("d", "i8"), ("f", "i8"),
    ("batch", "i8"),  # symbols, over several rows, that the strategy may be asked about in one call; 0: one row
    ("row", "i8"), ("decision", "i8"), ("funding", "i8"), ("out", "i8"), ("half", "i8"), ("turned", "i8"),
    ("full", "i8"),  # the line above: where the loop stands; full: 0 writes the equity only
    ("blind", "i8"),  # 1: the strategy doesn't see the weights held, so that it can be asked far ahead
    ("asked", "i8"), ("doubt", "i8"),  # decisions before `asked` have their weights; before `doubt` ask few at a time
    ("day_end_ns", "i8"), ("day_row", "i8"),  # the first row that closes after that day: see `backtest.skim`
    # decisions (then as many as rows) before `ready` have their values; `refill` makes more: see `backtest.feed`
    ("ready", "i8"), ("feed", "i8"), ("refill", "i8"),
    ("late", "i8"),  # 1: a row is known when it has closed, so that decisions inside it come before its open (paper)
])  # fmt: skip

# The account at the close of a decision bar that was not skimmed over, or at whose open orders filled.
TURN = np.dtype([("bar", "i8"), ("cash", "f8"), ("gross", "f8"), ("net", "f8"), ("level", "i8")])
turn_at = reader(TURN)
ALL_READY = 2**62
# PLAIN: a decision and risk bar, all there, all known, none unusual, nothing asked since the row before: see
# `backtest.skim`. ASKED_BEFORE: bars are missing before it, and facts brought decisions meanwhile.
PLAIN, ASKED_BEFORE = 1, 2


@hot
def write_turn(account: Ref, tape: Ref) -> None:
    """Write down the account at the close of the next decision bar."""
    turn = turn_at(tape.turns, tape.turned)
    turn.bar = tape.out
    turn.cash = account.cash
    turn.gross = account.gross
    turn.net = account.net
    turn.level = account.level
    tape.turned += 1


def plain_rows(
    open_ns: Array, close_ns: Array, close: Array, decides: Array, risk_bar: Array, decide_ns: Array, states: Array,
    strange: Array,
) -> Array:  # fmt: skip
    """u1[n]: what kind of row each is, see `PLAIN`."""
    plain: Array = (decides & risk_bar) != 0
    asked = np.zeros(len(plain), bool)
    if decide_ns is close_ns or np.array_equal(decide_ns, close_ns):
        if len(strange) == len(states) == len(plain):
            strike_rows(plain.view(np.uint8), close, states, strange)  # as nearly always: one pass
            return plain.view(np.uint8)
        _strike(plain, states, None)
    else:
        at = np.append(0, np.searchsorted(decide_ns, close_ns[:-1], side="right"))
        asked = np.searchsorted(decide_ns, open_ns, side="right") > at
        plain &= np.searchsorted(decide_ns, close_ns, side="right") - at == 1
        plain[plain] = decide_ns[at[plain]] == close_ns[plain]
        known = np.ones(len(decide_ns) + 1, bool)
        _strike(known, states, None)
        plain &= known[at]
    _strike(plain, ~(close > 0.0), None)
    _strike(plain, strange, None if len(strange) == len(plain) else np.flatnonzero(decides))
    plain.view(np.uint8)[asked] = ASKED_BEFORE
    return plain.view(np.uint8)


@kernel
def strike_rows(plain: Array, close: Array, states: Array, strange: Array) -> None:
    """Clear plain[i] where any symbol of row i has no price, a state, or something unusual."""
    n, symbols = close.shape
    prices, told, odd = address_of(close), address_of(states), address_of(strange)
    faults = 0
    for place in range(n * symbols):
        faults |= u1_at(told, place) | u1_at(odd, place) | int(not f8_at(prices, place) > 0.0)
    if faults == 0:
        return
    for i in range(n):
        faults = 0
        for k in range(symbols):
            faults |= states[i, k] | strange[i, k] | (0 if close[i, k] > 0.0 else 1)
        plain[i] &= np.uint8(faults == 0)


def _strike(plain: Array, faults: Array, rows: Array | None) -> None:
    """Clear the places, `rows[i]` or i, of the faults[i, k] that are set: far quicker than any() over short rows."""
    struck = np.flatnonzero(faults) // faults.shape[1]
    plain[struck if rows is None else rows[struck]] = False


class Tape:
    """The arrays of a run and `ref`, the TAPE record by which the loop reaches them; made once, rewound for
    each run.
    """

    def __init__(
        self, *, open_ns: Array, close_ns: Array, prices: tuple[Array, Array, Array, Array, Array], decides: Array,
        risk_bar: Array, decide_ns: Array, rows: Array, states: Array, funding: tuple[Array, Array, Array],
        params: Array, strange: Array, full: bool = True, batch: int = 0, late: bool = False, blind: bool = False,
        feed: Feed | None = None,
    ) -> None:  # fmt: skip
        n, symbols = prices[0].shape
        self.feed = feed
        if feed is not None:
            rows = feed.arrays["room"]
        d, width = len(decide_ns), rows.shape[2]
        bars = int(np.count_nonzero(decides))
        names = ("open", "high", "low", "close", "volume")
        self.arrays: dict[str, Array] = {
            "open_ns": open_ns, "close_ns": close_ns, **dict(zip(names, prices, strict=True)), "decides": decides,
            "risk_bar": risk_bar, "decide_ns": decide_ns, "rows": rows, "states": states, "funding_ns": funding[0],
            "funding_symbol": funding[1], "funding_rate": funding[2], "params": params,
            "weights": np.empty((d, symbols)) if feed is None else feed.arrays["weights"],
            # Room for every row: `backtest.skim` values some rows ahead before it asks which of them are decision bars.
            "equity": np.empty(n)[:bars],
            "turns": np.empty(bars if full else 0, TURN),
            "scratch": np.zeros(symbols * (width + 1)), "holdings": np.zeros(symbols, np.int64),
            "amounts": np.zeros(symbols), "strange": strange,
        }  # fmt: skip
        if feed is None or feed.struck:
            plain = plain_rows(open_ns, close_ns, prices[3], decides, risk_bar, decide_ns, states, strange)
        else:
            plain = decides & risk_bar
        self.arrays["plain"] = plain
        self._header = np.zeros(1, TAPE)
        for name, array in self.arrays.items():
            assert array.flags.c_contiguous, name
            self._header[name] = array.ctypes.data
        sizes = {"symbols": symbols, "width": width, "n": n, "d": d, "f": len(funding[0]), "batch": batch}
        for name, size in sizes.items():
            self._header[name] = size
        self._header["full"] = full
        self._header["late"] = late
        self._header["blind"] = blind
        if feed is not None:
            self._header["feed"], self._header["refill"] = feed.address, feed.code.address

    def start(self, strategy: int) -> None:
        """Rewind, and let the strategy at this address decide."""
        for name in ("row", "decision", "funding", "out", "half", "turned", "asked", "doubt", "day_end_ns", "day_row"):
            self._header[name] = 0
        self._header["strategy"] = strategy
        self._header["ready"] = ALL_READY if self.feed is None else 0
        if self.feed is not None:
            self.feed.rewind()

    def wishes(self) -> Array:
        """f8[d, M]: the weights asked for, NaN where a decision asked for nothing or wasn't reached."""
        assert self.feed is None, "weights aren't kept"
        weights = self.arrays["weights"].copy()
        weights[int(self._header["decision"][0]) :] = np.nan
        return weights

    def accounts(self, fills: Array, cash: float) -> dict[str, Array]:
        """The account at the close of each decision bar: equity, cash, gross, net f8[b], level i8[b], held f8[b, M].

        fills: FILL[n] of the run; cash: what it began with. While the loop skims nothing moves but marks, so that the
        rest follows from the last turn, the fills and the closes, by the sums of `risk.ledger.value`.
        """
        turns = self.arrays["turns"][: int(self._header["turned"][0])]
        bars = len(self.arrays["equity"])
        last = np.zeros(bars, np.int64)
        last[turns["bar"]] = 1 + np.arange(len(turns))
        np.maximum.accumulate(last, out=last)
        level = np.zeros(bars, np.int64)
        level[turns["bar"]] = turns["level"]
        held = np.zeros((bars, int(self._header["symbols"][0])))
        gross, net = np.zeros(bars), np.zeros(bars)
        closes = self.arrays["close"][self.arrays["decides"] != 0]
        for k in range(held.shape[1]):
            own = fills[fills["symbol"] == k]
            held[:, k] = np.append(0.0, own["held"])[np.searchsorted(own["row"], np.arange(bars), side="right")]
            worth = held[:, k] * np.where(held[:, k] != 0.0, closes[:, k], 0.0)
            net += worth
            gross += np.abs(worth)
        gross[turns["bar"]], net[turns["bar"]] = turns["gross"], turns["net"]
        return {
            "equity": self.arrays["equity"].copy(), "cash": np.append(cash, turns["cash"])[last], "gross": gross,
            "net": net, "level": level, "held": held,
        }  # fmt: skip

    @property
    def ref(self) -> Ref:
        """What the loop is handed."""
        return self._header[0]

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]
