"""A small exchange process for tests of the operator's side: speaks the wire protocol, notes what it is asked."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from bot.exchange.codec import decode, encode
from bot.exchange.wire import (
    Balances,
    BalancesAre,
    BalanceView,
    CancelAll,
    CloseOut,
    Done,
    Failed,
    Hello,
    Message,
    Ping,
    Positions,
    Trades,
    TradesAre,
    TradeView,
)

Reply = Callable[[Message], Message | None]


class Exchange:
    """Answers on `folder/exchange.sock` until closed. `reply` may answer first; None leaves it to the defaults."""

    def __init__(self, folder: Path, reply: Reply = lambda message: None) -> None:
        self.asked: list[Message] = []
        self.trades: list[TradeView] = []
        self.balances: dict[str, str] = {}
        self.silent = False
        self._reply, self.file = reply, folder / "exchange.sock"
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.suppress(FileNotFoundError):
            self.file.unlink()
        handle = os.open(folder, os.O_RDONLY)
        self._sock.bind(f"/proc/self/fd/{handle}/exchange.sock")
        os.close(handle)
        self._sock.listen()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        for sock in (self._sock, *self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def intents(self) -> list[Message]:
        """What was asked, without greetings."""
        return [message for message in self.asked if not isinstance(message, (Hello, Ping))]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._sock.accept()
                self._open.append(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock.makefile("rb") as lines:
            for line in lines:
                number, message = decode(line)
                self.asked.append(message)
                answer = self._reply(message) or self._default(message)
                if answer is not None and not self.silent:
                    sock.sendall(encode(0, Done()) + encode(number, answer))  # a push before it is passed over

    def _default(self, message: Message) -> Message | None:
        match message:
            case Hello():
                return None
            case Trades():
                return TradesAre(trades=tuple(trade for trade in self.trades if trade.symbol == message.symbol))
            case Balances():
                views = (BalanceView(coin=coin, free=qty, total=qty) for coin, qty in self.balances.items())
                return BalancesAre(balances=tuple(views))
            case Positions():
                return Failed(text="spot has no positions")
            case CancelAll():
                return Done(count=3 if not message.protection else 1)
            case CloseOut():
                return Done(count=len(message.quantities))
            case _:
                return Done()


@contextlib.contextmanager
def exchange(folder: Path, reply: Reply = lambda message: None) -> Iterator[Exchange]:
    """One while the block runs."""
    there = Exchange(folder, reply)
    try:
        yield there
    finally:
        there.close()


def main() -> None:
    """As a process: `python -m tests.bot.operate_exchange FOLDER`; notes what it is asked in asked.jsonl."""
    folder = Path(sys.argv[1])

    def note(message: Message) -> None:
        with open(folder / "asked.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps([type(message).__name__, getattr(message, "protection", None)]) + "\n")

    Exchange(folder, note)
    threading.Event().wait()


if __name__ == "__main__":
    main()
