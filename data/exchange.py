"""An exchange asked politely by ccxt: limited rate, repeated on what may pass, named errors."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from data.errors import InputError, UnreachableError
from data.times import MILLISECOND_NS, SECOND_NS, format_duration

ATTEMPTS = 5
TIMEOUT_MS = 12_000
WAIT_MAX_S = 120.0


class NotGivenError(InputError):
    """The exchange understood the question and doesn't answer it: so far back, that interval, that market."""


class PublicExchange:
    """The public side of a ccxt exchange, for one interval (0: none is asked for); see `data.market.fetch_bars`."""

    def __init__(
        self,
        exchange_id: str,
        interval_ns: int,
        urls: Mapping[str, str] | None,
        wait: Callable[[float], None] | None,
    ) -> None:
        import ccxt

        if exchange_id not in ccxt.exchanges:
            near = difflib.get_close_matches(exchange_id, ccxt.exchanges, n=3)
            raise InputError(
                "no such exchange",
                key="exchange",
                value=exchange_id,
                remedy=f"Perhaps {' or '.join(near)}"
                if near
                else "Use ccxt's name, for example binance, kraken, bybit",
            )
        self.name = exchange_id
        self.requests = 0
        self.exchange: Any = getattr(ccxt, exchange_id)({"enableRateLimit": True, "timeout": TIMEOUT_MS})
        self.exchange.enableLastHttpResponse = True
        self.exchange.has["fetchCurrencies"] = False  # public bars need no list of coins, and some venues want a key
        if urls:
            self.exchange.urls["api"] = {**self.exchange.urls["api"], **urls}
        self.timeframe = self._timeframe(interval_ns) if interval_ns else ""
        self._wait = wait or (lambda seconds: self.exchange.sleep(seconds * 1000))

    def _timeframe(self, interval_ns: int) -> str:
        known = {
            name: self.exchange.parse_timeframe(name) for name in self.exchange.timeframes or {} if name[-1] != "M"
        }
        for name, seconds in known.items():
            if seconds * SECOND_NS == interval_ns:
                return str(name)
        raise InputError(
            f"{self.name} has no bars of that interval",
            key="interval",
            value=format_duration(interval_ns),
            remedy=f"It has {', '.join(known) or 'none'}",
        )

    def open(self, symbol: str) -> None:
        """Load the markets of the symbol's type."""
        kinds = self.exchange.options.get("fetchMarkets")
        wanted = ("linear", "swap") if ":" in symbol else ("spot",)
        if isinstance(kinds, dict) and any(kind in kinds.get("types", ()) for kind in wanted):
            kinds["types"] = [kind for kind in kinds["types"] if kind in wanted]

        def load() -> dict[str, Any]:
            found = self.exchange.load_markets(True)
            if not isinstance(found, dict) or not found:
                raise ValueError("no markets in the answer")
            return found

        markets = self.ask(load)
        if symbol not in markets:
            near = difflib.get_close_matches(symbol, list(markets), n=4, cutoff=0.5)
            raise InputError(
                f"{self.name} has no such symbol",
                key="symbol",
                value=symbol,
                remedy=f"Perhaps {', '.join(near)}" if near else "Write it like BTC/USDT",
            )

    def close(self) -> None:
        session = getattr(self.exchange, "session", None)
        if session is not None:
            session.close()

    def page(self, symbol: str, since_ns: int, limit: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Up to ``limit`` bars from ``since_ns`` on, as rows of time in ms, open, high, low, close, volume."""

        def fetch() -> np.ndarray[Any, np.dtype[np.float64]]:
            rows = self.exchange.fetch_ohlcv(symbol, self.timeframe, since_ns // MILLISECOND_NS, limit)
            if not isinstance(rows, list):
                raise ValueError(f"bars came as {type(rows).__name__}")
            if not rows:
                check_empty(self.exchange.last_http_response)
            filled = [[np.nan if value is None else float(value) for value in row[:6]] for row in rows]
            if any(len(row) != 6 or not np.isfinite(row[0]) for row in filled):
                raise ValueError("a bar without its six values")
            return np.array(filled, dtype=np.float64).reshape(len(filled), 6)

        answer: np.ndarray[Any, np.dtype[np.float64]] = self.ask(fetch)
        return answer

    def ask(self, call: Callable[[], Any], *, may_refuse: bool = False) -> Any:
        """The answer of a public request; repeated while it may help.

        With `may_refuse`, a question that the exchange finds wrong raises NotGivenError at once.

        ccxt's class of an error does not tell: a cut-off answer comes as a final-looking ExchangeError, a ban as
        DDoSProtection like any rate limit. A public question can be asked again safely, so all but a plain refusal is.
        """
        import ccxt

        problem = "?"
        for attempt in range(ATTEMPTS):
            try:
                self.requests += 1
                return call()
            except (ccxt.BadSymbol, ccxt.NotSupported) as error:
                raise InputError(_first_line(error), key="exchange", value=self.name) from error
            except (ccxt.AuthenticationError, ccxt.PermissionDenied) as error:
                raise UnreachableError(f"{self.name} refuses: {_first_line(error)}") from error
            except ccxt.BadRequest as error:
                if may_refuse:
                    raise NotGivenError(_first_line(error), key="exchange", value=self.name) from error
                problem, pause = f"{type(error).__name__}: {_first_line(error)}", self._pause(error, attempt)
            except (ccxt.BaseError, TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
                problem = f"{type(error).__name__}: {_first_line(error)}"
                pause = self._pause(error, attempt)
            if attempt + 1 < ATTEMPTS:
                self._wait(pause)
        raise UnreachableError(
            f"{self.name} gave no usable answer in {ATTEMPTS} attempts ({problem}). What came before is stored: check "
            "the connection, and run the same command again to go on"
        )

    def _pause(self, error: Exception, attempt: int) -> float:
        """Seconds to wait: what the exchange says, else twice as long each time."""
        headers = getattr(self.exchange, "last_response_headers", None) or {}
        said = next((value for name, value in headers.items() if name.lower() == "retry-after"), None)
        limited = type(error).__name__ in ("DDoSProtection", "RateLimitExceeded")
        seconds = float(2**attempt)
        if limited and said is not None:
            with suppress(ValueError):
                seconds = max(float(said), 0.0)
        if " 418 " in f" {error} " or seconds > WAIT_MAX_S:
            when = f"; it says to come back in {said} s" if said is not None else ""
            raise UnreachableError(f"{self.name} has shut us out ({_first_line(error)}){when}") from error
        return seconds


def check_empty(answer: object) -> None:
    """Raise ValueError when an answer without rows isn't an empty list of them: ccxt reads garbage as none, too."""
    try:
        loaded = json.loads(str(answer))
    except ValueError:
        raise ValueError("the answer is cut off, or no JSON") from None
    if isinstance(loaded, list):
        if loaded and isinstance(loaded[0], list) and not str(loaded[0][:1]).strip("['\"]").replace(".", "").isdigit():
            raise ValueError("bars without times")
        return
    if not _has_list(loaded):
        raise ValueError("the answer holds no list of bars")


def _has_list(loaded: object) -> bool:
    if isinstance(loaded, dict):
        return any(isinstance(value, list) or _has_list(value) for value in loaded.values())
    return False


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__
