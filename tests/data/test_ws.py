"""The one way to WebSockets: what is refused, what is bounded, and how each end is told."""

import asyncio
import datetime
import ssl
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from data.errors import InputError
from data.feed import FeedError, Tools
from data.http import Http
from data.ws import LineError, open_line
from tests.sources.world import NOW_NS, StepClock
from tests.sources.ws_server import ENDED, PAUSE_S, REFUSED, SAID, STUCK, WS_FAULTS, repeat, ws_serving

SECRET = "s3cr3t-token"
NEAR = frozenset({"127.0.0.1"})


def tools(near: frozenset[str] = NEAR, alive: Any = lambda: None) -> Tools:
    """Real tools; no HTTP is asked here, only its list of hosts."""
    import random

    clock = StepClock()
    return Tools(clock=clock, http=Http(clock, near=near), rng=random.Random(1), alive=alive)


def run(talk: Any, work: Any, *script: str, **more: Any) -> Any:
    """Do the work against a server."""

    async def whole() -> Any:
        async with ws_serving(talk, **more) as server:
            server.script.extend(script)
            return await work(server)

    return asyncio.run(whole())


async def three(connection: ServerConnection) -> None:
    """A healthy source."""
    await repeat(connection, [{"n": at} for at in range(3)])


def test_messages_come_in_order_and_are_known_when_they_came() -> None:
    """Together as far as they came together; headers and parameters reach the server; nothing is lost between calls."""

    async def work(server: Any) -> None:
        found: list[Any] = []
        told: list[int] = []
        asked = {"params": {"topic": "a b"}, "headers": {"X-Key": SECRET}}
        async with open_line(f"{server.url}/live", tools(alive=lambda: told.append(1)), **asked) as line:
            while len(found) < 3:
                heard = await line.hear(most=2)
                assert heard.arrived_ns > NOW_NS and 1 <= len(heard.messages) <= 2
                found += heard.messages
        assert found == ['{"n": 0}', '{"n": 1}', '{"n": 2}'] and told
        assert server.asked == ["/live?topic=a+b"]
        assert server.headers[0]["x-key"] == SECRET and "origin" not in server.headers[0]

    run(three, work)


def test_what_is_said_reaches_the_source() -> None:
    """Texts as they are, other values as JSON."""

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async def work(server: Any) -> list[Any]:
        async with open_line(server.url, tools()) as line:
            await line.say({"op": "subscribe"})
            await line.say("PING")
            return [(await line.hear(most=1)).messages[0] for _ in range(2)]

    assert run(echo, work) == ['{"op": "subscribe"}', "PING"]


@pytest.mark.parametrize("fault", WS_FAULTS)
def test_each_fault_has_a_name(fault: str) -> None:
    """A FeedError that says what happened, without secrets; what isn't a fault of the line is told as it is."""

    async def work(server: Any) -> Any:
        limits = {"open_s": 0.4 if fault == "slow-loris" else 10.0, "pong_s": 0.2 if fault in STUCK else 10.0}
        asked: dict[str, Any] = {"headers": {"Authorization": SECRET}, "params": {"token": SECRET}, **limits}
        with pytest.raises(FeedError) as caught:
            async with open_line(server.url, tools(), most=100_000, **asked) as line:
                first = (await line.hear(most=1)).messages[0]
                assert fault in SAID and first == SAID[fault]
                raise FeedError(f"{line.shown}: read")
        return caught.value

    error = run(three, work, fault)
    assert SECRET not in str(error) and "\x1b" not in str(error) and "token=" not in str(error)
    assert str(error).startswith("ws://127.0.0.1:")
    if fault in REFUSED:
        assert ("leads elsewhere" if fault == "redirect" else f"HTTP {REFUSED[fault][0]}") in str(error)
        assert error.final is (fault == "401")
    if fault.endswith(("-seconds", "-date")):
        assert error.pause_s >= PAUSE_S
    wanted = {"close-1008": 1008, "close-1013": 1013, "drop": 1006, "too-big": 1009, "not-utf8": 1007}
    assert getattr(error, "code", None) == wanted.get(fault)
    assert (error.pause_s > 0) is (fault == "close-1013" or fault.startswith(("429", "503-")))
    assert fault not in ENDED or not error.final


def test_what_came_before_an_end_is_still_read() -> None:
    """The messages first, then the end."""

    async def short(connection: ServerConnection) -> None:
        await connection.send("last")
        await connection.close(1001, "")

    async def work(server: Any) -> None:
        async with open_line(server.url, tools()) as line:
            assert (await line.hear()).messages == ["last"]
            with pytest.raises(LineError, match="1001") as caught:
                await line.hear()
            assert caught.value.code == 1001
            with pytest.raises(LineError, match="1001"):
                await line.say("anyone there?")

    run(short, work)


def test_a_silent_line_lives_by_its_pongs_until_its_limit() -> None:
    """Pongs tell that the source is there; with a limit of silence that isn't enough."""

    async def silent(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async def work(server: Any) -> int:
        told: list[int] = []
        async with open_line(server.url, tools(alive=lambda: told.append(1)), silence_s=1.5, pong_s=0.4) as line:
            with pytest.raises(FeedError, match="silent for 1.5 s"):
                await line.hear()
        return len(told)

    assert run(silent, work) >= 2


def test_a_quick_source_waits_for_a_slow_reader() -> None:
    """What isn't read isn't taken in: the other side is held up instead of our memory filling."""

    async def work(server: Any) -> int:
        return sent[0]

    sent = [0]

    async def flood(connection: ServerConnection) -> None:
        while True:
            await connection.send("x" * 100_000)
            sent[0] += 1

    async def slow(server: Any) -> None:
        async with open_line(server.url, tools(), most=8_000_000) as line:
            await line.hear(most=1)
            before = -1
            while before != sent[0]:  # until the server can't get rid of more
                before = sent[0]
                await asyncio.sleep(0.1)
            assert sent[0] < 400, "40 MB of a line that nobody reads"
            for _ in range(50):
                await line.hear(most=10)
            assert sent[0] > before

    run(flood, slow)


@pytest.mark.parametrize(
    ("url", "near", "what"),
    [
        ("https://127.0.0.1/", NEAR, "not the address of a WebSocket"),
        ("wss://", NEAR, "not the address of a WebSocket"),
        ("ws://example.com/live", NEAR, "unencrypted"),
        ("wss://user:pw@127.0.0.1/", NEAR, "password"),
    ],
)
def test_addresses_that_are_not_asked(url: str, near: frozenset[str], what: str) -> None:
    """Schemes, passwords, plain text."""

    async def work() -> None:
        async with open_line(url, tools(near)):
            raise AssertionError("opened")

    with pytest.raises(InputError, match=what) as caught:
        asyncio.run(work())
    assert "pw" not in str(caught.value)


def test_private_networks_are_refused_unless_named() -> None:
    """By the address that the name leads to."""

    async def work() -> None:
        async with open_line("wss://localhost:1/", tools(frozenset())):
            raise AssertionError("opened")

    with pytest.raises(FeedError, match="private network") as caught:
        asyncio.run(work())
    assert caught.value.final


def test_nobody_there() -> None:
    """A closed port is a FeedError that waiting may mend."""

    async def work() -> None:
        async with open_line("ws://127.0.0.1:9/", tools()):
            raise AssertionError("opened")

    with pytest.raises(FeedError, match="127.0.0.1:9") as caught:
        asyncio.run(work())
    assert not caught.value.final


def test_encrypted_lines_need_a_name_that_is_vouched_for(tmp_path: Path) -> None:
    """With an authority that we trust the line opens; with the usual ones it doesn't."""
    chain, mine = certificate(tmp_path)
    there = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    there.load_cert_chain(chain, mine)

    async def work(server: Any) -> None:
        url = server.url.replace("127.0.0.1", "localhost")
        near = frozenset({"localhost"})
        with pytest.raises(FeedError, match="CERTIFICATE_VERIFY_FAILED"):
            async with open_line(url, tools(near)):
                raise AssertionError("opened")
        async with open_line(url, tools(near), trusted=ssl.create_default_context(cafile=str(chain))) as line:
            assert (await line.hear(most=1)).messages == ['{"n": 0}']

    run(three, work, ssl=there)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for `localhost` that vouches for itself, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    own = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(own.public_key())
        .serial_number(7).not_valid_before(datetime.datetime(2020, 1, 1))
        .not_valid_after(datetime.datetime(2090, 1, 1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(own, hashes.SHA256())
    )  # fmt: skip
    chain, mine = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    mine.write_bytes(own.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return chain, mine
