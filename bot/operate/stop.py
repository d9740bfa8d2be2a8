"""How a bot is stopped, alive, hung or dead: latch, ask, cancel, and when asked sell; each step says what it did.

The latch comes first: the exchange process refuses new risk from that moment, whatever the bot does. Selling is only
done here when no bot can do it too: two sellers would sell what is somebody else's.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from bot.exchange.wire import (
    Balances,
    BalancesAre,
    CancelAll,
    CloseOut,
    Done,
    Message,
    Positions,
    PositionsAre,
    Trades,
    TradesAre,
    TradeView,
)
from bot.operate.control import SOCKET_FILE, NoAnswer, NobodyThere, ask
from bot.operate.direct_line import DirectLine, Spawn, open_line
from bot.operate.known import MARGIN_NS, Known, holdings, positions, read_known
from bot.operate.latch import HALTED, write_latch
from bot.operate.lock import LOCK_FILE, InstanceLock, acquire, boot_id, holder, last_holder
from data.errors import InputError, TidegateError, WorkError

BOT_S = 2.0
CANCEL_S = 20.0
CANCEL_TRIES = 3
CLOSE_S = 40.0
DONE, WARNING, FAILED = "done", "warning", "failed"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a halt and what came of it. how "done", "warning" (the halt holds all the same) or "failed"."""

    what: str
    how: str
    text: str


Tell = Callable[[Step], None]


@dataclass(kw_only=True)
class Halt:
    """One halt of one account. `spawn` starts the exchange process (paper has none)."""

    folder: Path
    person: str
    reason: str
    now_ns: int
    spawn: Spawn | None
    tell: Tell
    bot_s: float = BOT_S
    failed: bool = False

    def run(self, *, flatten: bool = False) -> bool:
        """Do it all; True when all of it worked. What fails doesn't keep the next step from being tried."""
        self.latch()
        alive = self.ask_bot(flatten)
        if self.folder.parent.name == "paper":
            if flatten and alive is not True:
                self.say("flatten", FAILED, "paper: no bot answers, and a simulated position can't be sold without one")
            return not self.failed
        close = flatten and alive is not True
        locked = self._own_it() if close else None
        try:
            self.at_exchange(close=close and locked is not None)
        finally:
            if locked is not None:
                locked.release(time.time_ns())
        return not self.failed

    def say(self, what: str, how: str, text: str) -> None:
        """Note a step."""
        self.failed = self.failed or how == FAILED
        self.tell(Step(what=what, how=how, text=text))

    def latch(self) -> None:
        """Write HALTED, before anything else."""
        try:
            written = write_latch(self.folder, HALTED, self.person, self.reason, self.now_ns)
            self.say("latch", DONE, f"HALTED: {written.reason}")
        except TidegateError as error:
            self.say("latch", FAILED, str(error))

    def ask_bot(self, flatten: bool) -> bool | None:
        """Tell the bot. True: it does what was asked; False: none runs; None: one is there and silent."""
        request = {"do": "halt", "person": self.person, "reason": self.reason, "flatten": False}
        try:
            ask(self.folder / SOCKET_FILE, request, timeout_s=self.bot_s)
        except (NobodyThere, NoAnswer) as error:
            return self._silent(error)
        except TidegateError as error:
            self.say("bot", FAILED, f"the bot answers: {error}")
            return None
        if not flatten:
            self.say("bot", DONE, "the running bot halted")
            return True
        try:  # only after a first answer: a request left lying with a hung bot would make it sell when it wakes up
            ask(self.folder / SOCKET_FILE, {**request, "flatten": True}, timeout_s=4 * self.bot_s)
            self.say("bot", DONE, "the running bot halted and sells its position: see tidegate status")
        except TidegateError as error:
            self.say("bot", FAILED, f"the running bot halted; whether it sells isn't known ({error}): tidegate status")
        return True

    def _silent(self, error: TidegateError) -> bool | None:
        found = holder(self.folder)
        if found is None:
            self.say("bot", DONE, "no bot runs")
            return False
        kill = f"; if it stays silent: kill {found.pid}" if found.pid else ""
        text = f"{found} doesn't answer ({type(error).__name__}); the latch keeps new risk out{kill}"
        self.say("bot", WARNING, text)
        return None

    def at_exchange(self, *, close: bool) -> None:
        """Cancel all through the exchange process, which knows its bot, and sell when that is ours to do."""
        known = self._known(trades=close)
        seen = last_holder(self.folder)
        bot_id, session = known.bot or seen.bot, known.session or seen.session
        try:
            with open_line(
                self.folder,
                bot_id=bot_id,
                session=session,
                spawn=self.spawn,
                tell=lambda text: self.say("line", DONE, text),
            ) as line:
                if self.cancel(line, protection=False) and close and self.cancel(line, protection=True):
                    self.close_out(line, known)
        except TidegateError as error:
            self.say("cancel", FAILED, f"{error}. Open orders may stand: look at the venue")

    def cancel(self, line: DirectLine, *, protection: bool) -> bool:
        """Cancel the bot's orders; tried again, since it can't do harm twice."""
        what = "cancel protection" if protection else "cancel"
        text = ""
        for number in range(CANCEL_TRIES):
            try:
                answer = line.ask(CancelAll(protection=protection), timeout_s=CANCEL_S)
            except NoAnswer as error:
                self.say(what, FAILED, f"{error}. Open orders may stand: look at the venue")
                return False
            if isinstance(answer, Done):
                kept = "; protection stands" if not protection else "; the position has no protection now"
                self.say(what, DONE, f"{answer.count} order{'' if answer.count == 1 else 's'} cancelled{kept}")
                return True
            text = _said(answer)
            time.sleep(min(0.2 * 2**number, max(getattr(answer, "until_ns", 0) - time.time_ns(), 0) / 1e9 + 0.2))
        self.say(what, FAILED, f"{text}. Open orders may stand: look at the venue")
        return False

    def close_out(self, line: DirectLine, known: Known) -> None:
        """Sell what the journal and the venue's trades say is the bot's. Never repeated."""
        bare = "protection is cancelled and the position is NOT sold: sell it by hand at the venue"
        try:
            quantities = self._quantities(line, known)
            if not quantities:
                self.say("flatten", DONE, "the bot holds nothing")
                return
            texts = {symbol: f"{qty.normalize():f}" for symbol, qty in quantities.items()}
            answer = line.ask(CloseOut(quantities=texts, reason=self.reason), timeout_s=CLOSE_S)
        except TidegateError as error:
            self.say("flatten", FAILED, f"{error}; {bare}")
            return
        listed = ", ".join(f"{text} {symbol}" for symbol, text in texts.items())
        if isinstance(answer, Done):
            self.say("flatten", DONE, f"closed at market: {listed}. The journal learns of it at the next start")
        else:
            self.say("flatten", FAILED, f"{listed}: {_said(answer)}. Not tried again; look at the venue")

    def _quantities(self, line: DirectLine, known: Known) -> dict[str, Decimal]:
        if known.snapshot is None:
            raise InputError("the journal has no snapshot: what the bot holds isn't known", where=self.folder)
        symbols, since = positions(known), max(known.at_ns - MARGIN_NS, 1)
        seen: list[TradeView] = []
        for symbol in symbols:
            answer = line.ask(Trades(symbol=symbol, since_ns=since), timeout_s=CANCEL_S)
            if not isinstance(answer, TradesAre):
                raise WorkError(f"the venue doesn't tell its trades of {symbol}: {_said(answer)}")
            seen += answer.trades
        return holdings(known, seen, _at_venue(line, symbols))

    def _known(self, *, trades: bool) -> Known:
        try:
            return read_known(self.folder, trades=trades)
        except (TidegateError, ImportError) as error:
            self.say("journal", FAILED if trades else WARNING, str(error))
            return Known()

    def _own_it(self) -> InstanceLock | None:
        """Make sure that no bot can sell while we do: end a hung one, and keep a new one from starting."""
        try:
            if holder(self.folder) is not None:
                self._kill()
            seen = last_holder(self.folder)
            return acquire(self.folder, session=seen.session, bot_id=seen.bot, now_ns=time.time_ns())
        except TidegateError as error:
            self.say("flatten", FAILED, f"nothing was sold, since a bot may still sell: {error}")
            return None

    def _kill(self) -> None:
        found = holder(self.folder)
        if found is None:
            return
        if found.host != socket.gethostname() or found.boot != boot_id() or not _has_lock(self.folder, found.pid):
            raise WorkError(f"{found} is silent and can't be ended from here")
        self.say("bot", WARNING, f"killing the silent process {found.pid}: it must not wake up and sell too")
        try:
            os.kill(found.pid, signal.SIGKILL)
        except OSError as error:
            raise WorkError(f"{found} can't be killed ({error})") from None
        until = time.monotonic() + 5.0
        while holder(self.folder) is not None:
            if time.monotonic() > until:
                raise WorkError(f"{found} doesn't end")
            time.sleep(0.02)


def _at_venue(line: DirectLine, symbols: dict[str, Decimal]) -> dict[str, Decimal]:
    """The most of each symbol that can be ours: what the venue has of it."""
    answer = line.ask(Positions(), timeout_s=CANCEL_S)
    if isinstance(answer, PositionsAre) and answer.positions:
        return {view.symbol: Decimal(view.qty) for view in answer.positions}
    balances = line.ask(Balances(), timeout_s=CANCEL_S)
    if not isinstance(balances, BalancesAre):
        raise WorkError(f"the venue doesn't tell its balances: {_said(balances)}")
    free = {view.coin: Decimal(view.free) for view in balances.balances}
    return {symbol: free.get(symbol.partition("/")[0], Decimal(0)) for symbol in symbols}


def _said(answer: Message) -> str:
    return str(getattr(answer, "text", "") or type(answer).__name__)


def _has_lock(folder: Path, pid: int) -> bool:
    """True when the kernel lists that process as the one that has the lock."""
    inode = str((folder / LOCK_FILE).stat().st_ino)
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return False
    held = [line.split() for line in lines if "FLOCK" in line and "->" not in line]
    return any(parts[4] == str(pid) and parts[5].rpartition(":")[2] == inode for parts in held if len(parts) > 5)
