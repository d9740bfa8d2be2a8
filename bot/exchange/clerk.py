"""What the exchange process does with an intent: checks of its own first, then the account; it never sends one twice.

The order of checks of a new order: whose it is, the client id, the venue's state, the caps at this process's own price,
the kill latch, and last the durable claim of the client id.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from bot.exchange import modes, questions, views
from bot.exchange.caps import Breach, Caps, Reference, price_breach
from bot.exchange.ccxt_account import CcxtAccount
from bot.exchange.link import LOG
from bot.exchange.once import Claim, Once, Spent
from bot.exchange.settings import Settings
from bot.exchange.streams import Polling
from bot.exchange.wire import (
    Accepted,
    Alarm,
    Balances,
    Cancel,
    CancelAll,
    Clock,
    CloseOut,
    DeadMan,
    Done,
    Failed,
    Fundings,
    Lookup,
    Markets,
    Message,
    NotFound,
    NotSent,
    OpenOrders,
    OrderView,
    Ping,
    Place,
    Positions,
    Refused,
    Rights,
    Trades,
    Unknown,
)
from bot.operate.latch import read_latch
from data.errors import WorkError
from risk.records import PURPOSES

PROTECTION = ("stop-loss", "take-profit", "trailing-stop")
_CLIENT_ID = re.compile(r"[0-9a-f]{32}")
AGE_NS = 10 * 10**9  # shorter than the bot waits for an answer


def latch_is_active(folder: Path) -> bool:
    """Whether the account's kill latch says ACTIVE. Missing, unreadable or anything else: it doesn't."""
    return not read_latch(folder).halted


class Clerk:
    """All intents of all connections come here."""

    def __init__(
        self, settings: Settings, account: CcxtAccount, once: Once, push: Callable[[Message], None],
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:  # fmt: skip
        self.settings, self.account, self.once, self._now_ns = settings, account, once, now_ns
        self.caps = Caps(settings.limits, once.since(now_ns() - 86_400 * 10**9))
        self.reference = Reference(account.price)
        self.polling = Polling(account, push, lambda: True)
        self._push = push
        self._claiming: set[str] = set()
        self._prepared = False
        self._readying: asyncio.Task[Failed | None] | None = None

    async def ready(self) -> Failed | None:
        """Markets and clock are known, the leverage is set; None: so it is. Those who ask together share the asking."""
        if self._prepared:
            return None
        if self._readying is None or self._readying.done():
            self._readying = asyncio.create_task(self._make_ready())
        return await asyncio.shield(self._readying)

    async def _make_ready(self) -> Failed | None:
        clock = await self.account.clock()
        failed = clock if isinstance(clock, Failed) else await self.account.load_markets()
        if failed is not None:
            return failed
        unknown = [one for one in self.settings.symbols if one not in self.account.api.markets]
        if unknown:
            return Failed(text=f"the venue has no {', '.join(unknown)}")
        failed = await modes.prepare(self.account)
        self._prepared = failed is None
        return failed

    async def answer(self, message: Message, session: str) -> Message:
        """The answer to one intent or question of a connection's session."""
        if isinstance(message, Ping):
            return Done()
        if isinstance(message, Clock):
            return await self.account.clock()
        if isinstance(message, Rights):
            return await questions.rights(self.account)
        if isinstance(message, Balances):
            return await self.account.balances()
        failed = await self.ready()
        if isinstance(message, Place):
            return await self.place(message, failed)
        if failed is not None and not (self.account.api.markets and isinstance(message, (Cancel, CancelAll, CloseOut))):
            return NotSent(text=failed.text, until_ns=failed.until_ns) if isinstance(message, Cancel) else failed
        return await self._told(message, session)

    async def _told(self, message: Message, session: str) -> Message:
        match message:
            case Cancel():
                return await self.cancel(message)
            case CancelAll():
                return await self.cancel_all(message.protection)
            case CloseOut():
                return await self.close_out(message, session)
            case Lookup():
                return await self.account.lookup(message)
            case OpenOrders():
                return await self.account.open_orders()
            case Trades():
                return await questions.trades(self.account, message)
            case Positions():
                return await questions.positions(self.account)
            case Fundings():
                return await questions.fundings(self.account, message)
            case Markets():
                return await questions.markets(self.account, message)
            case DeadMan():
                return await questions.dead_man(self.account, message, self.is_protection)
        return Failed(text=f"{type(message).__name__} isn't an intent or a question")

    # --- new orders ---------------------------------------------------------------------------------------------------
    async def place(self, intent: Place, failed: Failed | None) -> Message:
        """One new order, or why not."""
        # First of all: any other refusal would say that it never was.
        if intent.client_id in self._claiming or self.once.purpose(intent.client_id) is not None:
            return _duplicate()
        refused = self._misfit(intent)
        if refused is not None:
            return refused
        is_exit = self.is_exit(intent)
        if failed is not None and not (is_exit and self.account.api.markets):
            return NotSent(text=failed.text, until_ns=failed.until_ns)
        price = None if is_exit else await self.reference.price(intent.symbol)
        notional = self._notional(intent, price)
        if not is_exit and price is None:
            return _capped(intent, "no reference price")
        now_ns = self._now_ns()
        breach = self.caps.check(now_ns, notional, is_exit)
        if breach is None and price is not None:
            limit = None if intent.limit is None else Decimal(intent.limit)
            breach = price_breach(intent.side, intent.kind, limit, price, self.settings.limits.price_band)
        if breach is not None:
            return _capped(intent, breach)
        if not is_exit and not latch_is_active(self.settings.folder):
            return Refused(why="latched", code="latch", text="the kill latch isn't ACTIVE")
        if (late := self._too_old(intent)) is not None:
            return late
        return await self._sent(intent, now_ns, notional, is_exit)

    def _too_old(self, intent: Place) -> NotSent | None:
        """The fence of an order that got no answer counts on it: what is older than this never leaves."""
        age_ns = self._now_ns() - intent.decided_ns
        if intent.decided_ns <= 0 or age_ns <= AGE_NS:
            return None
        return NotSent(text=f"decided {age_ns / 1e9:.0f} s ago: too old to be sent")

    async def _sent(self, intent: Place, now_ns: int, notional: Decimal, is_exit: bool) -> Message:
        claim = Claim(intent.client_id, now_ns, intent.symbol, intent.side, intent.purpose, is_exit, notional)
        self.caps.count(Spent(intent.client_id, now_ns, notional, is_exit))  # before others are checked
        self._claiming.add(intent.client_id)
        try:
            claimed = await self.once.claim(claim)
        except WorkError as error:
            self.caps.release(intent.client_id)
            self._push(Alarm(kind="ledger", text=str(error)))
            return Refused(why="other", code="ledger", text=str(error))
        finally:
            self._claiming.discard(intent.client_id)
        if not claimed:
            return _duplicate()
        late = self._too_old(intent)  # a disk that stalled holds it up, too
        self.polling.watch(intent.client_id, intent.symbol)
        answer = late or await self.account.place(intent, is_exit=is_exit)
        self._settled(intent, answer)
        return answer

    def _settled(self, intent: Place, answer: Message) -> None:
        left = not isinstance(answer, (Refused, NotSent))
        if not left:
            self.caps.release(intent.client_id)
            self.polling.watched.pop(intent.client_id, None)
        venue_id = ""
        if isinstance(answer, Accepted):
            venue_id = answer.order.venue_id
            self.polling.seen(answer.order)
        try:
            self.once.settle(intent.client_id, type(answer).__name__, venue_id, left=left)
        except WorkError as error:  # the claim stands; only the note of what came of it is missing
            self._push(Alarm(kind="ledger", text=str(error)))

    def _misfit(self, intent: Place) -> Refused | None:
        if not _CLIENT_ID.fullmatch(intent.client_id) or not intent.client_id.startswith(self.settings.bot_id):
            return Refused(why="other", code="client-id", text="not a client id of this bot")
        if intent.purpose not in PURPOSES:
            return Refused(why="other", code="purpose", text=f"no such purpose: {intent.purpose}")
        if not self.is_exit(intent) and intent.symbol not in self.settings.symbols:
            return Refused(why="market", code="symbol", text=f"{intent.symbol} isn't one of this session's symbols")
        for name, raw in (("qty", intent.qty), ("limit", intent.limit), ("stop", intent.stop)):
            if raw is not None and views.quantity(raw) is None:
                return Refused(why="filters", code="local", text=f"{name} isn't a number above 0: {raw}")
        return None

    def is_exit(self, intent: Place) -> bool:
        """Whether an order can only reduce; what its purpose says isn't enough."""
        if intent.purpose == "entry":
            return False
        return intent.reduce_only if self.settings.market == "perp" else intent.side == "sell"

    def _notional(self, intent: Place, price: Decimal | None) -> Decimal:
        prices = [Decimal(raw) for raw in (intent.limit, intent.stop) if raw is not None]
        return Decimal(intent.qty) * max([*prices, *([price] if price is not None else [])], default=Decimal(0))

    # --- ends ---------------------------------------------------------------------------------------------------------
    def is_protection(self, client_id: str, kind: str) -> bool:
        """Whether an order of ours protects a position."""
        if not client_id.startswith(self.settings.bot_id):
            return False
        return kind in ("stop", "take-profit") or self.once.purpose(client_id) in PROTECTION

    async def cancel(self, intent: Cancel) -> Message:
        """Cancel one order of ours; of others none."""
        if not intent.client_id.startswith(self.settings.bot_id):
            return Refused(why="other", code="client-id", text="not a client id of this bot")
        answer = await self.account.cancel(intent)
        if isinstance(answer, Accepted):
            self.polling.seen(answer.order)
        return answer

    async def cancel_all(self, protection: bool, symbol: str | None = None) -> Message:
        """Cancel our open orders one by one: the venue's own "all" would hit what isn't ours."""
        _, problems, done = await self._cancel_own(protection, symbol)
        return Failed(text="; ".join(problems)) if problems else Done(count=done)

    async def _cancel_own(self, protection: bool, symbol: str | None) -> tuple[bool, list[str], int]:
        """Whether any of them had filled meanwhile, what went wrong, and how many are gone."""
        orders = await self.account.open_orders(symbol)
        if isinstance(orders, Failed):
            return False, [orders.text], 0
        own = [one for one in orders.orders if one.client_id.startswith(self.settings.bot_id)]
        wanted = [one for one in own if protection or not self.is_protection(one.client_id, one.kind)]
        room = asyncio.Semaphore(4)

        async def end(view: OrderView) -> tuple[OrderView, Message]:
            async with room:
                return view, await self.cancel(Cancel(client_id=view.client_id, symbol=view.symbol))

        moved, problems, done = False, [], 0
        for view, answer in await asyncio.gather(*(end(one) for one in wanted)):
            if isinstance(answer, NotFound):
                moved = True
            elif isinstance(answer, Accepted) and answer.order.status != "open":
                moved = moved or Decimal(answer.order.filled) > Decimal(view.filled)
            else:
                problems.append(f"{view.symbol} {view.client_id}: {_said(answer)}")
                continue
            done += 1
        return moved, problems, done

    async def close_out(self, intent: CloseOut, session: str) -> Message:
        """Sell what a halted bot holds, after its own orders of that symbol are gone.

        Where an order filled while it was cancelled, the quantity isn't what the journal thought: that symbol is left,
        and has to be asked for again with what is held then.
        """
        if latch_is_active(self.settings.folder):
            return Refused(why="other", code="active", text="the kill latch is ACTIVE: the bot itself sells")
        LOG.warning("close-out: %s", intent.reason)
        problems, done = [], 0
        for symbol, raw in intent.quantities.items():
            qty = views.number(raw)
            if qty is None or symbol not in self.account.api.markets or (qty < 0 and self.settings.market == "spot"):
                problems.append(f"{symbol}: can't close {raw}")
                continue
            moved, trouble, _ = await self._cancel_own(True, symbol)
            if trouble:
                LOG.warning("close-out of %s: %s", symbol, "; ".join(trouble))
            if moved:
                problems.append(f"{symbol}: an order filled meanwhile; ask again with what is held now")
                continue
            count, trouble = await self._sold(symbol, qty, session)
            done += count
            problems += trouble
        return Failed(text="; ".join(problems)) if problems else Done(count=done)

    async def _sold(self, symbol: str, qty: Decimal, session: str) -> tuple[int, list[str]]:
        shown = await questions.markets(self.account, Markets(symbols=(symbol,)))
        if isinstance(shown, Failed):
            return 0, [shown.text]
        market = shown.markets[0]  # type: ignore[attr-defined]
        left = views.on_grid(abs(qty), Decimal(market.lot), up=False)
        most = left if market.max_qty is None else views.on_grid(Decimal(market.max_qty), Decimal(market.lot), up=False)
        done = 0
        while left >= Decimal(market.min_qty) and left > 0:
            part = min(left, most)
            order = Place(
                client_id=f"{self.settings.bot_id}{session}f{secrets.token_hex(8)[1:]}",
                symbol=symbol,
                side="sell" if qty > 0 else "buy",
                kind="market",
                qty=views.text(part),
                reduce_only=self.settings.market == "perp",
                purpose="flatten",
                decided_ns=self._now_ns(),
            )
            answer = await self.place(order, None)
            if not isinstance(answer, Accepted):
                return done, [f"{symbol} {order.client_id}: {_said(answer)}"]
            done, left = done + 1, left - part
        return done, []


def _duplicate() -> Refused:
    return Refused(why="duplicate", code="client-id", text="an order of this client id was placed before")


def _capped(intent: Place, breach: Breach | str) -> Refused:
    code = breach.cap if isinstance(breach, Breach) else "reference"
    LOG.warning("refused by the exchange process's own caps: %s %s", intent.symbol, breach)
    return Refused(why="caps", code=code, text=str(breach))


def _said(answer: Message) -> str:
    if isinstance(answer, Accepted):
        return "the venue took the cancel, and the order is still there"
    text = answer.text if isinstance(answer, (Refused, NotSent, Unknown, Failed)) else ""
    return f"{type(answer).__name__} {text}".strip()
