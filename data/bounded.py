"""A session for ccxt's asynchronous classes that keeps to the bounds of `data.http`: sizes, addresses, no redirects.

ccxt takes whatever comes: an answer of any size, a redirect to anywhere, a host that leads into a private network.
Given this session instead of its own, the library stays as it is and the answers are held to the rules of all others.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from data.feed import FeedError
from data.http import look_up

if TYPE_CHECKING:
    from aiohttp import ClientSession

ANSWER_MAX: Final = 8 * 1024 * 1024


@asynccontextmanager
async def bounded_session(near: frozenset[str], most: int = ANSWER_MAX) -> AsyncIterator[ClientSession]:
    """A session to be given to ccxt as `session`; it is closed at the end.

    Parameters
    ----------
    near : frozenset of str
        Hosts that may lie on this machine or in a private network; see `data.http.Http`.
    most : int
        Bytes of an answer, after decompression.

    Notes
    -----
    What breaks a bound raises FeedError out of the call of ccxt. An address that is written in numbers isn't looked up
    by aiohttp: check the one that is configured with `data.http.look_up`; redirects lead nowhere.
    """
    import aiohttp

    class Bounded(aiohttp.ClientResponse):
        async def read(self) -> bytes:
            if self._body is None:
                body = bytearray()
                async for piece in self.content.iter_chunked(65_536):
                    body += piece
                    if len(body) > most:
                        self.close()
                        raise FeedError(f"{self.url.with_query(None)}: more than {most:,} bytes")
                self._body = bytes(body)
            return self._body

    class Resolver(aiohttp.abc.AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[Any]:
            address = await look_up(host, port, near)
            kind = socket.AF_INET6 if ":" in address else socket.AF_INET
            return [{"hostname": host, "host": address, "port": port, "family": kind, "proto": 0, "flags": 0}]

        async def close(self) -> None:
            """Nothing is kept."""

    async def moved(session: Any, context: Any, params: Any) -> None:
        raise FeedError(f"{params.url.with_query(None)}: leads elsewhere, which isn't followed")

    traces = aiohttp.TraceConfig()
    traces.on_request_redirect.append(moved)
    connector = aiohttp.TCPConnector(resolver=Resolver(), use_dns_cache=False, family=socket.AF_UNSPEC, limit=8)
    async with aiohttp.ClientSession(
        connector=connector, response_class=Bounded, trace_configs=[traces], trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:  # fmt: skip
        yield session
