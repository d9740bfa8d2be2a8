"""The one way to HTTP: where it doesn't go, what it doesn't take, and what it never says."""

import asyncio
import ipaddress
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from data import http
from data.errors import InputError
from data.feed import FeedError
from data.http import Http, read_json, retry_after_s
from data.times import SECOND_NS
from tests.sources.server import Server, reply, serving
from tests.sources.world import NOW_NS, StepClock

NEAR = frozenset({"127.0.0.1"})


def ask(handler: Any, work: Callable[[Http, Server], Any], *, near: frozenset[str] = NEAR) -> Any:
    """What `work` gives with a client and a local server."""

    async def main() -> Any:
        async with serving(handler) as server, Http(StepClock(), near) as client:
            return await work(client, server)

    return asyncio.run(main())


async def fine(request: web.Request) -> web.Response:
    """Any request is answered."""
    return reply({"path": request.path_qs, "host": request.headers["Host"]})


def test_an_answer_is_whole_and_dated() -> None:
    async def work(client: Http, server: Server) -> Any:
        return await client.get(f"{server.url}/a", {"b": "1"}, {"X-Key": "k"}), server

    answer, server = ask(fine, work)
    assert answer.json()["path"] == "/a?b=1" and NOW_NS < answer.arrived_ns < NOW_NS + SECOND_NS
    assert server.headers[0]["x-key"] == "k" and "b=1" not in answer.url
    assert f"http://{answer.json()['host']}" == server.url


def test_a_private_address_is_refused_unless_the_configuration_names_it() -> None:
    async def work(client: Http, server: Server) -> Any:
        with pytest.raises(FeedError, match="private network") as caught:
            await client.get(server.url)
        return caught.value.final, server.asked

    assert ask(fine, work, near=frozenset()) == (True, [])


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "169.254.169.254",
        "::1",
        "fd00::1",
        "::ffff:127.0.0.1",
        "0.0.0.0",
        "fe80::1%1",
    ],
)
def test_what_counts_as_private(address: str) -> None:
    assert not http._is_public(address)
    assert http._is_public("93.184.216.34") and http._is_public("2606:2800:220:1:248:1893:25c8:1946")
    assert ipaddress.ip_address("93.184.216.34").is_global


def test_a_redirect_leads_nowhere_private_and_takes_no_secret_along() -> None:
    async def away(request: web.Request) -> web.Response:
        if request.path == "/same":
            return web.Response(status=302, headers={"Location": "/end?x=1"})
        if request.path == "/inside":
            return web.Response(status=302, headers={"Location": "http://localhost:1/"})
        if request.path == "/file":
            return web.Response(status=301, headers={"Location": "file:///etc/passwd"})
        if request.path == "/loop":
            return web.Response(status=302, headers={"Location": "/loop"})
        return reply({"path": request.path_qs})

    async def work(client: Http, server: Server) -> Any:
        answer = await client.get(f"{server.url}/same", {"key": "secret"}, {"Authorization": "secret"})
        assert answer.json()["path"] == "/end?x=1"
        assert "authorization" in server.headers[0] and "authorization" not in server.headers[1]
        for path, why in (("inside", "private network"), ("file", "isn't a web address"), ("loop", "without end")):
            with pytest.raises(FeedError, match=why):
                await client.get(f"{server.url}/{path}")

    ask(away, work)


def test_a_name_that_leads_inside_is_found_out_when_it_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a host's name says at first: the address that is asked is the one that was checked."""

    async def work(client: Http, server: Server) -> Any:
        async def lookup(host: str, port: int, **_: Any) -> Any:
            return [(2, 1, 6, "", ("93.184.216.34", port)), (2, 1, 6, "", ("10.0.0.1", port))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", lookup, raising=False)
        with pytest.raises(FeedError, match=r"private network \(10.0.0.1\)"):
            await client.get("http://rebound.example/")

    ask(fine, work)


def test_limits_of_size_and_time() -> None:
    async def work(client: Http, server: Server) -> Any:
        server.script += ["bomb", "slow-loris"]
        with pytest.raises(FeedError, match="more than 1,000,000 bytes"):
            await client.get(server.url, most=1_000_000)
        with pytest.raises(FeedError, match="no whole answer within 0.2 s"):
            await client.get(server.url, deadline_s=0.2)
        return (await client.get(server.url)).status

    assert ask(fine, work) == 200


def test_a_packed_bomb_is_measured_unpacked() -> None:
    import gzip

    async def packed(request: web.Request) -> web.Response:
        body = gzip.compress(b" " * 50_000_000)
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    async def work(client: Http, server: Server) -> Any:
        with pytest.raises(FeedError, match="bytes"):
            await client.get(server.url, most=1_000_000)

    ask(packed, work)


def test_refusals_say_how_long_to_stay_away_and_whether_it_ends() -> None:
    statuses = {"/401": True, "/403": True, "/404": True, "/500": False, "/502": False}

    async def refuses(request: web.Request) -> web.Response:
        return web.Response(status=int(request.path[1:]), text="secret=abc")

    async def work(client: Http, server: Server) -> Any:
        for path, final in statuses.items():
            with pytest.raises(FeedError) as caught:
                await client.get(f"{server.url}{path}", {"api_key": "hush"})
            assert caught.value.final is final and "hush" not in str(caught.value)
        with pytest.raises(FeedError) as caught:
            await client.get(f"{server.url}/429")
        return caught.value

    error = ask(refuses, work)
    assert error.pause_s == http.BUSY_S and not error.final


def test_addresses_that_are_not_asked() -> None:
    async def work(client: Http, server: Server) -> Any:
        for url in ("ftp://example.org/", "file:///etc/passwd", "http://user:word@example.org/", "nonsense"):
            with pytest.raises(InputError):
                await client.get(url)

    ask(fine, work)


def test_no_message_holds_a_secret_of_a_line_that_broke() -> None:
    async def work(client: Http, server: Server) -> Any:
        server.script.append("hang-up")
        with pytest.raises(FeedError) as caught:
            await client.get(f"{server.url}/x?token=hush", {"apikey": "hush"}, {"Authorization": "hush"})
        return str(caught.value)

    assert "hush" not in ask(fine, work)


def test_json_that_is_none() -> None:
    for body, why in (
        (b"<!DOCTYPE html><p>", "a page for people"), (b'{"a": 1', "not whole JSON"), (b'{"a": NaN}', "NaN is no num"),
        (b"[" * 100_000, "not whole JSON"), (b"1" * 5000, "not whole JSON"), (b"\xff\xfe", "not whole JSON"),
    ):  # fmt: skip
        with pytest.raises(FeedError, match=why):
            read_json(body, "here")


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (None, 60.0), ("7", 7.0), ("0", 1.0), ("-3", 1.0), ("1e9", http.PAUSE_MAX_S), ("nan", 60.0), ("soon", 60.0),
        ("Thu, 09 Oct 2025 08:53:50 GMT", 30.0),
    ],
)  # fmt: skip
def test_how_long_a_source_asks_to_be_left_alone(said: str | None, seconds: float) -> None:
    assert retry_after_s(said, NOW_NS, 60.0) == seconds
