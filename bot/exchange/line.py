"""The line to the exchange process: every failure becomes an answer; whether anybody is there becomes a condition."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass

from bot.exchange import wire
from bot.exchange.conditions import Conditions
from bot.exchange.wire import Failed, Message, NotSent, Place, Unknown
from bot.ports import Clock, NotConnected, Transport

SECOND = 10**9
# What every round asks again until it is answered: see `bot.exchange.rounds`.
READINGS = (wire.Balances, wire.Positions, wire.OpenOrders, wire.Trades, wire.Fundings, wire.Markets, wire.Clock)
log = logging.getLogger("tidegate.venue")


@dataclass(frozen=True, kw_only=True)
class VenueSettings:
    """How the venue's side behaves. Times in seconds unless named otherwise."""

    recv_window_s: float = 5.0  # the venue drops a request that is older
    fence_s: float = 10.0  # and this much more before "not there" is believed
    timeout_s: float = 15.0  # for an answer; longer than the exchange process waits for the venue
    clock_offset_ms: float = 500.0
    reconcile_s: float = 30.0
    poll_s: float = 5.0  # the same while there is no private stream
    confirm_s: float = 2.0  # between reads of balances that differ
    confirmations: int = 3
    maybe_s: float = 120.0  # after the fence an order isn't called lost so long while a trade of nobody's may be its
    markets_s: float = 600.0
    start_s: float = 60.0
    backoff_s: float = 0.25
    backoff_most_s: float = 5.0
    unreachable_most_s: float = 30.0
    trades_grace_s: float = 0.5  # the stream tells of a trade by itself, mostly
    unknown_orders: int = 3
    unknown_notional: float = float("inf")
    foreign_share: float = 0.01  # of equity; a greater move by hand allows no new risk until a person resumes
    quote_tolerance: float = 0.01
    dead_man_s: int = 0  # 0: not asked for
    dead_man_spares_stops: bool = False
    silent_s: float = 60.0  # the engine has taken nothing for so long


class Backoff:
    """Pauses that grow, each drawn from the upper half of its span.

    >>> pause = Backoff(random.Random(1), first=1.0, most=4.0)
    >>> all(low <= pause.next() <= high for low, high in [(0.5, 1), (1, 2), (2, 4), (2, 4)])
    True
    """

    def __init__(self, rng: random.Random, *, first: float, most: float) -> None:
        self._rng, self._span, self._most = rng, first, most

    def next(self) -> float:
        """Seconds to wait."""
        span = self._span
        self._span = min(2.0 * span, self._most)
        return span * self._rng.uniform(0.5, 1.0)


class Line:
    """Asks, and never raises but for a cancellation."""

    def __init__(self, transport: Transport, clock: Clock, conditions: Conditions, settings: VenueSettings) -> None:
        self._transport, self._clock, self._conditions, self._settings = transport, clock, conditions, settings
        self._failures = 0
        self._unread: dict[tuple[type[Message], str | None], int] = {}  # failures in a row of each reading
        self.until_ns = 0  # nobody is asked before it
        self._orders_ns = 0  # no order is taken before it
        self.asked = 0

    async def ask(self, message: Message) -> Message:
        """The answer; `NotSent` when it certainly never left, `Unknown` when nobody knows.

        `Unknown.sent_ns` is the last moment at which it can have left: a request that we gave up may still wait in the
        exchange process, which sends none later than it waits for an answer.
        """
        self.asked += 1
        latest_ns = self._clock.now_ns() + int(self._settings.timeout_s * SECOND)
        try:
            answer = await self._transport.ask(message, timeout_s=self._settings.timeout_s)
        except NotConnected as error:
            answer = NotSent(text=f"the exchange process isn't there: {error}")
        except TimeoutError:
            answer = Unknown(text="no answer in time", sent_ns=latest_ns)
        except ConnectionError as error:
            answer = Unknown(text=f"the line broke: {error}", sent_ns=latest_ns)
        except Exception as error:  # whatever it is: the request may have left, so its outcome is looked up
            log.exception("the line to the exchange process failed")
            answer = Unknown(text=f"the line failed: {type(error).__name__}: {error}", sent_ns=latest_ns)
        self._weigh(message, answer)
        return answer

    def silence(self, until_ns: int, text: str) -> None:
        """The venue doesn't want to hear from us before then."""
        self.until_ns = max(self.until_ns, until_ns)
        self._conditions.on("venue", text)

    def wait_s(self, pause: float) -> float:
        """`pause`, or longer when nobody may be asked yet."""
        return max(pause, (self.until_ns - self._clock.now_ns()) / SECOND)

    @property
    def reachable(self) -> bool:
        """No failure since the last answer."""
        return self._failures == 0 and self._clock.now_ns() >= self.until_ns

    def _weigh(self, message: Message, answer: Message) -> None:
        repeated = isinstance(message, READINGS) and not getattr(message, "forced", False)
        reading = (type(message), getattr(message, "symbol", "") if repeated else None)
        if not isinstance(answer, (NotSent, Unknown, Failed)):
            self._failures = 0
            self._unread.pop(reading, None)
            unread = any(count > 1 for count in self._unread.values())  # one question that fails each time is enough
            if self._clock.now_ns() >= max(self.until_ns, self._orders_ns) and not unread:
                self._conditions.off("venue")
            return
        self._failures += 1
        if repeated:
            self._unread[reading] = self._unread.get(reading, 0) + 1
        if isinstance(answer, Failed) and answer.revoked:
            self._conditions.on("key", f"the key isn't valid any more: {answer.text}", level=4, sticky=True)
        until_ns = 0 if isinstance(answer, Unknown) else answer.until_ns
        if isinstance(message, Place) and isinstance(answer, NotSent):  # cancels and questions have room of their own
            self._orders_ns = max(self._orders_ns, until_ns)
            self._conditions.on("venue", answer.text)
        elif until_ns > self._clock.now_ns():
            self.silence(until_ns, answer.text)
        elif isinstance(answer, NotSent) or self._failures > 1 or self._unread.get(reading, 0) > 1:
            self._conditions.on("venue", answer.text)
