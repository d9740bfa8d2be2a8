"""The connection to the venue: ccxt's own class, unmodified, with every request watched from outside.

What was on the wire is noted for each call apart: whether the head of a request left, and the answer as it came. ccxt's
errors tell neither. A redirect is never followed: the key would go with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.exchange.budget import Budget, Pace, used_weight
from bot.exchange.codes import FAMILIES
from bot.exchange.keys import Key
from bot.exchange.outcomes import Call, Request
from bot.exchange.redact import redact
from bot.exchange.settings import Settings
from bot.exchange.wire import Alarm, Message
from data.errors import InputError
from data.trust import authorities, trust_authorities

LOG = logging.getLogger("tidegate.exchange")
PER_MINUTE = {"binance": 4000.0, "bybit": 600.0, "okx": 600.0, "kraken": 60.0}
_current: contextvars.ContextVar[Call | None] = contextvars.ContextVar("call", default=None)


class NoRoom(Exception):
    """The rate budget has no room: nothing was asked."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What came of one call: the result or the error, and until when the venue wants nothing (ns UTC)."""

    call: Call
    result: Any = None
    error: Exception | None = None
    until_ns: int = 0


class Link:
    """One ccxt exchange over REST, its session and its budget. `note` takes what a person should know."""

    def __init__(self, settings: Settings, key: Key, note: Callable[[Message], None]) -> None:
        self.settings, self._note = settings, note
        self.family = FAMILIES.get(settings.exchange, "")
        self.api = build(settings, key, pro=False)
        self.budget = Budget(PER_MINUTE.get(self.family, 60_000 / max(float(self.api.rateLimit), 1.0) * 0.8))
        self._pace = Pace(float(self.api.rateLimit) / 1000)
        # Kraken's nonce has to grow from request to request, so they go one by one.
        self._turn: contextlib.AbstractAsyncContextManager[Any] = (
            asyncio.Lock() if self.family == "kraken" else contextlib.nullcontext()
        )
        self._session: Any = None

    def open(self) -> None:
        """Make the session; inside the running loop."""
        import aiohttp

        connector = aiohttp.TCPConnector(ssl=authorities())
        self._session = aiohttp.ClientSession(connector=connector, trace_configs=[_traces()])
        # aiohttp would send a lost GET or DELETE again by itself; what was sent once has to be known.
        self._session._retry_connection = False
        self.api.session, self.api.own_session = self._session, False
        self.api.on_rest_response = _answered
        self.api.throttle = self._throttle
        self.api.timeout_on_exit = 0

    async def close(self) -> None:
        """Close the session."""
        try:
            await self.api.close()
        finally:
            if self._session is not None:
                await self._session.close()

    async def run(
        self,
        what: str,
        weight: float,
        ask: Callable[[], Awaitable[Any]],
        *,
        urgent: bool = False,
        placing: bool = False,
    ) -> Said:
        """One call of ccxt under the budget; never raises what the call raised."""
        until_ns = self.budget.take(weight, urgent=urgent, placing=placing)
        call = Call(what, paced=not (urgent or placing))
        if until_ns:
            return Said(call=call, error=NoRoom("the rate budget is spent"), until_ns=until_ns)
        token = _current.set(call)
        result, problem = None, None
        try:
            async with self._turn:
                result = await ask()
        except Exception as error:  # of ccxt's tree, or not: what it means is read from the wire
            problem = error
            LOG.info("%s: %s", what, f"{type(error).__name__}: {error}")
        finally:
            _current.reset(token)
        return Said(call=call, result=result, error=problem, until_ns=self._heard(call))

    def _heard(self, call: Call) -> int:
        until_ns = 0
        for request in call.requests:
            if request.body is None:
                continue
            weight = used_weight(request.headers)
            if weight is not None:
                self.budget.told(weight)
            code = call.code(self.family) if request is call.last else None
            limited = code is not None and code.why == "limited"
            if request.status in (418, 429) or limited:
                orders_only = code is not None and code.code in ("-1015", "EOrder:Rate limit exceeded")
                until_ns = self.budget.refused(request.status, request.headers, request.body, orders_only=orders_only)
                kind = "ban" if request.status == 418 else "rate"
                self._note(Alarm(kind=kind, text=redact(f"{call.what}: {request.body[:200]}"), until_ns=until_ns))
            else:
                self.budget.answered()
        return until_ns

    async def _throttle(self, cost: float | None = None) -> None:
        call = _current.get()
        if call is None or call.paced:
            delay_s = self._pace.delay_s(float(cost or 1.0))
            if delay_s > 0:
                await asyncio.sleep(delay_s)


def build(settings: Settings, key: Key, *, pro: bool) -> Any:
    """ccxt's exchange of these settings; `pro` the streaming kind, where the venue has one.

    Raises
    ------
    InputError
        ccxt knows no such exchange, or it has no such endpoint, sandbox or demo.
    """
    import ccxt
    import ccxt.async_support
    import ccxt.pro

    from data.endpoints import replace_urls

    name = settings.exchange
    if name not in ccxt.exchanges:
        raise InputError("no such exchange", key="exchange.id", value=name)
    streaming = pro and name in ccxt.pro.exchanges
    kind = getattr(ccxt.pro if streaming else ccxt.async_support, name)
    api = kind(
        {
            "apiKey": key.key,
            "secret": key.secret,
            "password": key.passphrase,
            "enableRateLimit": True,
            "timeout": settings.timeout_ms,
        }
    )
    api.log = lambda *args: LOG.debug("%s", " ".join(str(one) for one in args))
    api.verbose = LOG.isEnabledFor(logging.DEBUG)  # redacted like all else
    api.has["fetchCurrencies"] = False  # names of coins aren't needed, and they cost a signed request
    api.options.update(settings.options)
    api.options.update(
        {
            "defaultType": "spot" if settings.market == "spot" else "swap",
            "defaultSubType": None if settings.market == "spot" else "linear",
            "recvWindow": settings.recv_window_ms,
            "adjustForTimeDifference": False,
            "timeDifference": 0,
            "maxRetriesOnFailure": 0,
            "fetchMargins": False,
            "warnOnFetchOpenOrdersWithoutSymbol": False,
        }
    )
    if FAMILIES.get(name) == "bybit":  # else asked of the venue, in front of the first order
        api.options.update({"enableUnifiedMargin": False, "enableUnifiedAccount": True, "unifiedMarginStatus": 6})
    kinds, wanted = api.options.get("fetchMarkets"), ("spot",) if settings.market == "spot" else ("linear", "swap")
    if isinstance(kinds, dict) and any(one in kinds.get("types", ()) for one in wanted):
        kinds["types"] = [one for one in kinds["types"] if one in wanted]
    if settings.sandbox:
        if "test" not in api.urls:
            raise InputError("this exchange has no sandbox in ccxt", key="exchange.sandbox", value=name)
        api.set_sandbox_mode(True)
    if settings.demo:
        if "demo" not in api.urls:
            raise InputError("this exchange has no demo trading in ccxt", key="exchange.demo", value=name)
        api.enable_demo_trading(True)
    api.urls["api"] = replace_urls(api.urls["api"], settings.urls)
    trust_authorities(api)
    return api


def _traces() -> Any:
    import aiohttp

    async def begun(session: Any, context: Any, params: Any) -> None:
        call = _current.get()
        if call is not None:
            call.requests.append(Request(method=params.method, path=params.url.path))

    async def left(session: Any, context: Any, params: Any) -> None:
        call = _current.get()
        if call is not None and call.last is not None:
            call.last.sent_ns = time.time_ns()

    async def moved(session: Any, context: Any, params: Any) -> None:
        raise aiohttp.ClientError("the venue redirects; not followed")

    traces = aiohttp.TraceConfig()
    traces.on_request_start.append(begun)
    traces.on_request_headers_sent.append(left)
    traces.on_request_redirect.append(moved)
    return traces


def _answered(
    status: int, reason: str, url: str, method: str, headers: Mapping[str, str], body: str, sent: Any, sent_body: Any
) -> str:
    call = _current.get()
    if call is not None and call.last is not None:
        call.last.status, call.last.headers, call.last.body = status, dict(headers), body
    return body.strip()
