"""Halting a bot that runs, hangs or is dead; selling only what is the bot's, and only when nobody else can sell."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bot.exchange.wire import CancelAll, CloseOut, Done, Failed, Message, Refused, Trades, TradesAre, TradeView
from bot.operate.direct_line import Spawn, spawner
from bot.operate.heartbeat import read_beat
from bot.operate.latch import read_latch
from bot.operate.lock import holder, last_holder
from bot.operate.stop import Halt, Step
from tests.bot.operate_bot import BEFORE_NS, BOT, client_id, session, snapshot
from tests.bot.operate_exchange import Exchange, exchange

HOUSE = Path(__file__).resolve().parents[2]


def halt(folder: Path, *, flatten: bool = False, spawn: Spawn | None = None) -> tuple[bool, list[Step]]:
    """Halt it; whether all worked, and the steps."""
    steps: list[Step] = []
    job = Halt(folder=folder, person="ann", reason="odd", now_ns=5, spawn=spawn, tell=steps.append, bot_s=0.5)
    return job.run(flatten=flatten), steps


def how(steps: list[Step]) -> dict[str, str]:
    """What came of each step."""
    return {step.what: step.how for step in steps}


def start_bot(folder: Path, *what: str) -> "subprocess.Popen[bytes]":
    """The test bot as a process, running; with "hang" it hangs already."""
    process = subprocess.Popen([sys.executable, "-m", "tests.bot.operate_bot", str(folder), *what], cwd=HOUSE)
    until = time.monotonic() + 20
    while not _is_up(folder, process.pid, hung="hang" in what):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)
    return process


def _is_up(folder: Path, pid: int, *, hung: bool) -> bool:
    beat = read_beat(folder)
    if beat is None or beat.pid != pid or beat.state == "starting" or not (folder / "bot.sock").exists():
        return False
    return not hung or time.monotonic_ns() - beat.mono_ns > 250_000_000


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process that we started."""
    process.kill()
    process.wait()


def trade(number: str, side: str, qty: str, *, order: int = 9, symbol: str = "BTC/USDT", **more: Any) -> TradeView:
    """A trade after the snapshot."""
    given = {"client_id": client_id(order), "fee": "0", "fee_currency": "USDT", "ns": BEFORE_NS + 10**9, **more}
    return TradeView(
        trade_id=number, venue_id="v", symbol=symbol, side=side, qty=qty, price="100", maker=False, **given
    )


def closed(there: Exchange) -> dict[str, str] | None:
    """What was closed out."""
    found = [message for message in there.intents() if isinstance(message, CloseOut)]
    assert len(found) <= 1
    return found[0].quantities if found else None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A live session that holds 1 BTC, whose bot is dead."""
    session(tmp_path / "live" / "main", snapshot(BTC=1.0, ETH=0.0))
    return tmp_path / "live" / "main"


def test_dead_bot(folder: Path) -> None:
    """Latch first, then cancel-all under the bot's own id; protection is spared."""

    def latched(message: Message) -> None:
        assert read_latch(folder).halted

    with exchange(folder, latched) as there:
        worked, steps = halt(folder)
    assert worked and how(steps) == {"latch": "done", "bot": "done", "cancel": "done"}, steps
    assert there.intents() == [CancelAll(protection=False)]
    assert getattr(there.asked[0], "bot", "") == BOT and getattr(there.asked[0], "watch", None) is False
    assert read_latch(folder).person == "ann"


def test_the_exchange_process_is_started_and_ended_again(folder: Path) -> None:
    """When none runs, one is started for the cancelling, and doesn't stay behind."""
    started: list[subprocess.Popen[bytes]] = []
    spawn = spawner([sys.executable, "-m", "tests.bot.operate_exchange", str(folder)])

    def kept(place: Path) -> "subprocess.Popen[bytes]":
        started.append(spawn(place))
        return started[0]

    worked, steps = halt(folder, spawn=kept)
    assert worked and how(steps)["line"] == "done", steps
    assert (folder / "asked.jsonl").read_text().splitlines()[-1] == '["CancelAll", false]'
    assert started[0].poll() is not None


def test_no_exchange_process_is_said_and_fails(folder: Path) -> None:
    """Without one, the latch holds, and the exit tells that orders may stand; so with one that dies at its start."""
    worked, steps = halt(folder)
    assert not worked and read_latch(folder).halted
    assert how(steps) == {"latch": "done", "bot": "done", "cancel": "failed"} and "may stand" in steps[-1].text
    worked, steps = halt(folder, spawn=spawner([sys.executable, "-c", "raise SystemExit(3)"]))
    assert not worked and "ended at once with code 3" in steps[-1].text
    worked, steps = halt(folder, spawn=spawner(["/no/such/program"]))
    assert not worked and "can't be started" in steps[-1].text


def test_hung_exchange_process(folder: Path) -> None:
    """One that hangs is named with its process; with a command to start anew it is killed and replaced."""
    env = {**os.environ, "PYTHONPATH": str(HOUSE)}
    command = [sys.executable, "-m", "tests.bot.operate_exchange", str(folder)]
    hung = subprocess.Popen(command, cwd=HOUSE)
    until = time.monotonic() + 10
    while not (folder / "exchange.sock").exists() and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.1)
    hung.send_signal(signal.SIGSTOP)

    def anew(place: Path) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(command, cwd=HOUSE, env=env)

    import bot.operate.direct_line

    patience, bot.operate.direct_line.PING_S = bot.operate.direct_line.PING_S, 0.3
    try:
        worked, steps = halt(folder)
        assert not worked and f"kill {hung.pid}" in steps[-1].text, steps
        worked, steps = halt(folder, spawn=anew)
        assert worked and any(f"{hung.pid} hangs: killing it" in step.text for step in steps), steps
        assert hung.wait(5) == -signal.SIGKILL
    finally:
        bot.operate.direct_line.PING_S = patience
        end(hung)


def test_cancelling_is_tried_again_selling_is_not(folder: Path) -> None:
    """A venue that fails twice is asked a third time to cancel; a failed sale is told and left."""
    answers: list[Message] = [Failed(text="try later"), Failed(text="try later")]

    def reply(message: Message) -> Message | None:
        if isinstance(message, CancelAll) and answers:
            return answers.pop()
        return Refused(why="caps", code="", text="no") if isinstance(message, CloseOut) else None

    with exchange(folder, reply) as there:
        there.balances = {"BTC": "1"}
        worked, steps = halt(folder, flatten=True)
    assert not worked and closed(there) == {"BTC/USDT": "1"}
    assert steps[-1].what == "flatten" and "Not tried again" in steps[-1].text


def test_cancelling_that_fails_forbids_selling(folder: Path) -> None:
    """A stop that couldn't be cancelled might sell too: nothing is sold then."""

    def reply(message: Message) -> Message | None:
        return Failed(text="down") if isinstance(message, CancelAll) and message.protection else None

    with exchange(folder, reply) as there:
        there.balances = {"BTC": "1"}
        worked, steps = halt(folder, flatten=True)
    assert not worked and closed(there) is None and how(steps)["cancel protection"] == "failed"


def test_flatten_of_a_dead_bot_counts_what_the_journal_missed(folder: Path) -> None:
    """Trades after the snapshot count once, booked ones and other people's not, a coin fee is taken off."""
    with exchange(folder) as there:
        there.balances = {"BTC": "3", "ETH": "5"}
        there.trades = [
            trade("t1", "buy", "0.5", order=5),  # booked before the snapshot
            trade("t9", "sell", "0.25"),
            trade("t10", "buy", "0.5", symbol="ETH/USDT", fee="0.001", fee_currency="ETH"),
            trade("t11", "sell", "0.6", client_id="web_by_hand"),
            trade("t12", "sell", "0.6", client_id="ffffffff" + client_id(3)[8:]),
        ]
        worked, steps = halt(folder, flatten=True)
    assert worked, steps
    assert closed(there) == {"BTC/USDT": "0.75", "ETH/USDT": "0.499"}
    asked = [type(message).__name__ for message in there.intents()]
    assert asked == ["CancelAll", "CancelAll", "Trades", "Trades", "Positions", "Balances", "CloseOut"]
    assert holder(folder) is None and last_holder(folder).released


def test_flatten_never_sells_more_than_is_there(folder: Path) -> None:
    """A stop sold it while the bot was dead: nothing is left to sell, though somebody else's coins are there."""
    with exchange(folder) as there:
        there.balances = {"BTC": "2"}
        there.trades = [trade("t9", "sell", "1.0")]
        worked, steps = halt(folder, flatten=True)
    assert worked and closed(there) is None and "holds nothing" in steps[-1].text
    with exchange(folder) as there:
        there.balances = {"BTC": "0.4"}
        worked, steps = halt(folder, flatten=True)
    assert worked and closed(there) == {"BTC/USDT": "0.4"}


def test_not_knowing_whose_trade_it_was_forbids_selling(folder: Path) -> None:
    """A trade without client id, or a venue that doesn't tell its trades: the sale is left to a person, and said."""
    with exchange(folder) as there:
        there.balances, there.trades = {"BTC": "2"}, [trade("t9", "sell", "1.0", client_id="")]
        worked, steps = halt(folder, flatten=True)
    assert not worked and closed(there) is None and "NOT sold" in steps[-1].text
    with exchange(folder, lambda message: Failed(text="busy") if isinstance(message, Trades) else None) as there:
        worked, steps = halt(folder, flatten=True)
    assert not worked and closed(there) is None and "busy" in steps[-1].text


def test_a_holding_that_was_cut_since_is_cut(tmp_path: Path) -> None:
    """Somebody sold by hand after the snapshot: the journal's cut counts."""
    from bot.events import Outside, pack

    folder = tmp_path / "live" / "cut"
    session(folder, snapshot(BTC=1.0), (pack(Outside(ns=BEFORE_NS + 1, symbol="BTC/USDT", qty=0.3, price=100.0)),))
    with exchange(folder) as there:
        there.balances = {"BTC": "2"}
        assert halt(folder, flatten=True)[0] and closed(there) == {"BTC/USDT": "0.3"}


def test_running_bot_sells_itself(folder: Path) -> None:
    """A bot that answers is asked to flatten; nobody else sells."""
    process = start_bot(folder)
    try:
        with exchange(folder) as there:
            there.balances = {"BTC": "1"}
            worked, steps = halt(folder, flatten=True)
        assert worked and closed(there) is None, steps
        assert there.intents() == [CancelAll(protection=False)]
        assert (folder / "requests").read_text() == "halt False\nhalt True\n"
    finally:
        end(process)


def test_hung_bot_is_halted_and_before_a_sale_killed(folder: Path) -> None:
    """A hung bot doesn't keep orders from being cancelled; it is killed before its position is sold for it."""
    process = start_bot(folder, "hang")
    try:
        with exchange(folder) as there:
            there.balances = {"BTC": "1"}
            worked, steps = halt(folder)
            assert worked and how(steps)["bot"] == "warning" and f"kill {process.pid}" in steps[1].text, steps
            assert process.poll() is None and there.intents() == [CancelAll(protection=False)]
            worked, steps = halt(folder, flatten=True)
        assert worked and closed(there) == {"BTC/USDT": "1"}, steps
        assert process.wait(5) == -signal.SIGKILL
    finally:
        end(process)


def test_no_bot_can_start_while_its_position_is_sold(folder: Path) -> None:
    """The sale holds the account's lock."""
    found: list[Any] = []

    def reply(message: Message) -> Message | None:
        if isinstance(message, CloseOut):
            found.append(holder(folder))
        return None

    with exchange(folder, reply) as there:
        there.balances = {"BTC": "1"}
        assert halt(folder, flatten=True)[0]
    assert found[0].pid == os.getpid()


def test_a_broken_journal_does_not_keep_from_cancelling(folder: Path) -> None:
    """Without journal the lease names the bot; selling needs the journal."""
    process = start_bot(folder)
    end(process)
    (folder / "journal.sqlite").write_bytes(b"gone")
    with exchange(folder) as there:
        worked, steps = halt(folder)
        assert worked and how(steps)["journal"] == "warning" and there.intents() == [CancelAll(protection=False)]
        assert getattr(there.asked[0], "bot", "") == BOT
        worked, steps = halt(folder, flatten=True)
    assert not worked and closed(there) is None


def test_paper_has_no_exchange(tmp_path: Path) -> None:
    """A paper session is latched; nothing is looked for at an exchange."""
    folder = tmp_path / "paper" / "main"
    session(folder, snapshot(BTC=1.0))
    worked, steps = halt(folder)
    assert worked and how(steps) == {"latch": "done", "bot": "done"} and read_latch(folder).halted
    assert not halt(folder, flatten=True)[0]


def test_trades_answer_is_not_taken_from_another_question(folder: Path) -> None:
    """Pushes and answers to other questions are passed over."""
    from bot.operate.direct_line import DirectLine

    with exchange(folder) as there, DirectLine(folder / "exchange.sock", bot_id=BOT, session="") as line:
        there.trades = [trade("t1", "buy", "1")]
        assert isinstance(line.ask(Trades(symbol="ETH/USDT"), timeout_s=2), TradesAre)
        assert line.ask(CancelAll(), timeout_s=2) == Done(count=3)
