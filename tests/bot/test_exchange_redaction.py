"""A canary key: whatever fails, and however loudly it is logged, the key is in no line, answer, error or file."""

import asyncio
import json
import logging
import os
from pathlib import Path

import pytest

from bot.exchange.client import SocketTransport, spawn_exchange
from bot.exchange.process import SOCKET
from bot.exchange.redact import HIDDEN, Redaction, keep_secret, redact
from bot.exchange.wire import (
    Balances,
    Cancel,
    CancelAll,
    Clock,
    Lookup,
    Markets,
    Message,
    OpenOrders,
    Rights,
    Trades,
)
from tests.bot.exchange_worlds import BOT, BTC, MONEY, PRICES, SESSION, activate, document, order, urls_of
from tests.venue.doorman import Key
from tests.venue.faults import Fault
from tests.venue.server import LocalVenue

KEY, SECRET = "CanaryKeyQ7vX29sL", "CanarySecret/Zb+4&pT=81mW"
KINDS = ("reset", "status", "truncate", "cut", "empty", "html", "braces", "timeout")
LABELS = ("place", "cancel", "lookup", "open-orders", "trades", "account", "rights", "time", "info", "ticker")


def test_a_canary_is_nowhere(tmp_path: Path) -> None:
    """Every kind of request fails in every way with ccxt at its loudest, over REST and the private stream."""
    folder = activate(tmp_path / "s")
    key_file = tmp_path / "key.toml"
    key_file.write_text(f'key = "{KEY}"\nsecret = "{SECRET}"\n')
    key_file.chmod(0o600)
    said: list[str] = []

    async def run() -> None:
        venue = LocalVenue(balances=MONEY, prices=PRICES, keys={KEY: Key(SECRET)})
        async with venue:
            given = document(folder, urls_of(venue), key={"name": "canary", "file": str(key_file)})
            given["exchange"] |= {"streams": True, "timeout_ms": 150}
            environment = {**os.environ, "TIDEGATE_LOG": "DEBUG"}
            start = asyncio.to_thread(
                spawn_exchange, given, log_file=tmp_path / "log", environment=environment, ready_s=20
            )
            started = await start
            client = SocketTransport(folder / SOCKET, bot_id=BOT, session=SESSION)
            try:
                await client.connect(timeout_s=5)
                reading = asyncio.create_task(_read(client, said))
                said.append(repr(await client.ask(order(900), timeout_s=20)))
                for number, kind in enumerate(KINDS):
                    await _all_fail(venue, client, kind, number, said)
                for one in venue.doorman.keys.values():
                    one.revoked = True
                venue.streams.cut("user")
                said.append(repr(await client.ask(Balances(), timeout_s=20)))
                await asyncio.sleep(0.8)
                reading.cancel()
            finally:
                await client.close()
                await asyncio.to_thread(started.close)

    asyncio.run(run())
    log = (tmp_path / "log").read_text()
    assert "fetch Request" in log and "X-MBX-APIKEY" in log and "signature=" in log  # it was as loud as it can be
    assert "Accepted" in said[0] and "userDataStream.subscribe.signature" in log
    for text in (
        log,
        "\n".join(said),
        *(file.read_bytes().decode("latin-1") for file in folder.rglob("*") if file.is_file()),
    ):
        for form in (KEY, SECRET, SECRET.replace("/", "%2F"), "CanarySecret", "CanaryKey"):
            assert form not in text
        assert not any(f"signature={digit}" in text for digit in "0123456789abcdef")


async def _all_fail(venue: LocalVenue, client: SocketTransport, kind: str, number: int, said: list[str]) -> None:
    asks: tuple[Message, ...] = (
        order(number + 1),
        Cancel(client_id=order(number + 1).client_id, symbol=BTC),
        Lookup(client_id=order(number + 1).client_id, symbol=BTC),
        OpenOrders(),
        Trades(symbol=BTC, since_ns=0),
        Balances(),
        Rights(),
        Clock(),
        Markets(symbols=(BTC,)),
        CancelAll(),
    )
    for message in asks:
        venue.faults.clear()
        venue.faults.add(*(Fault(kind, label=label, times=9) for label in LABELS))
        said.append(repr(await client.ask(message, timeout_s=20)))
    venue.faults.clear()


async def _read(client: SocketTransport, said: list[str]) -> None:
    async for message in client.pushes():
        said.append(repr(message))


LEAKS = (
    "GET http://x/api/v3/account?timestamp=1&signature=0123abcdef&recvWindow=5000",
    "{'X-MBX-APIKEY': 'abcdefgh', 'User-Agent': 'python'}",
    '{"method":"x","params":{"apiKey":"abcdefgh","signature":"Zm9v+/=="}}',
    "{'OK-ACCESS-KEY': 'abcdefgh', 'OK-ACCESS-SIGN': 'abcdefgh=', 'OK-ACCESS-PASSPHRASE': 'abcdefgh'}",
    "{'API-Key': 'abcdefgh', 'API-Sign': 'abcdefgh=='}",
    "{'X-BAPI-API-KEY': 'abcdefgh', 'X-BAPI-SIGN': 'abcdefgh'}",
    "wss://stream/ws?listenKey=abcdefghabcdefgh",
    '{"listenKey": "abcdefghabcdefgh"}',
    '{"op":"auth","args":["k",1,"' + "ab" * 32 + '"]}',
    "wss://x/ws/" + "abcd1234" * 8,
    'key passphrase = "abcdefgh"',
)


@pytest.mark.parametrize("text", LEAKS)
def test_named_secrets_are_struck_out(text: str) -> None:
    """Also where the value itself isn't known: by the names that carry secrets, and by their shape."""
    clean = redact(text)
    assert HIDDEN in clean
    for leak in ("abcdefgh", "0123abcdef", "Zm9v", "abab", "abcd1234"):
        assert leak not in clean


def test_what_isnt_secret_stays() -> None:
    """Client ids, prices and words of the field stay readable."""
    text = "order 0a1b2c3d11112222000000000000000f of BTC/USDT at 50000.01: signed anew; no key was found"
    assert redact(text) == text


def test_log_records_are_clean(caplog: pytest.LogCaptureFixture) -> None:
    """Message, arguments, extra fields and traceback of a record, whoever wrote it."""
    keep_secret("Canary-in-a-log")
    out: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: out.append(handler.format(record) + json.dumps(record.extra_field))  # type: ignore
    handler.addFilter(Redaction())
    log = logging.getLogger("test.canary")
    log.addHandler(handler)
    log.propagate = False
    try:
        try:
            raise ValueError("Canary-in-a-log")
        except ValueError:
            log.exception("it was %s", "Canary-in-a-log", extra={"extra_field": "Canary-in-a-log"})
        log.error("%s %s", "Canary-in-a-log", extra={"extra_field": "x"})  # arguments that don't fit
    finally:
        log.removeHandler(handler)
    assert len(out) == 2 and "ValueError" in out[0]
    assert not any("Canary" in line for line in out)


def test_short_secrets_are_refused() -> None:
    """Striking out two letters would hide everything."""
    with pytest.raises(ValueError, match="fewer"):
        keep_secret("ab")
