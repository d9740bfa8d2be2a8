"""The door between tweepy and X: where tweepy's requests go, how long and how large their answers may be.

tweepy asks api.twitter.com through whatever stands in its attribute `session`, without a time limit, and writes its
headers to the log. A `Door` stands there instead of aiohttp's own session: it replaces the address, adds the key (which
tweepy therefore never sees), bounds each answer in time and bytes, follows no redirect, and turns whatever goes wrong
into a `FeedError` with the pause that X asked for.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from data.clean import clean_text
from data.errors import InputError
from data.feed import Clock, FeedError, Tools
from data.http import BUSY_S, PAUSE_MAX_S, USER_AGENT, bare, host_of, look_up, read_json, redacted, retry_after_s
from data.times import SECOND_NS

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

BASE: Final = "https://api.x.com"
DEADLINE_S: Final = 30.0
CONNECT_S: Final = 10.0
BYTES_MAX: Final = 8 * 1024 * 1024
LINE_MAX: Final = 256 * 1024
FINAL: Final = frozenset({401, 402, 403, 404, 410})


class XError(FeedError):
    """X refused, with an HTTP status; or it wasn't reached at all, status 0. Either way nothing was billed."""

    def __init__(self, text: str, status: int, *, pause_s: float = 0.0, final: bool = False) -> None:
        super().__init__(text, pause_s=pause_s, final=final)
        self.status = status


@dataclass(frozen=True)
class Reply:
    """An answer in the form that tweepy asks of a response; `arrived_ns` is our clock when it was in."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes
    shown: str
    arrived_ns: int

    async def read(self) -> bytes:
        """The body."""
        return self.body

    async def json(self) -> Any:
        """See `values`."""
        return self.values()

    def values(self) -> dict[str, Any]:
        """The body, which has to be a JSON object. Raises FeedError."""
        found = read_json(self.body, self.shown)
        if not isinstance(found, dict):
            raise FeedError(f"{self.shown}: the answer isn't an object")
        return found


class Door:
    """Stands in tweepy's `session`.

    Parameters
    ----------
    base : str
        Scheme and host that stand in for api.twitter.com.
    token : str
        The bearer token.
    near : frozenset of str
        Hosts that may lie in a private network; see `data.http.look_up`.
    """

    def __init__(self, base: str, token: str, clock: Clock, near: frozenset[str]) -> None:
        self.base, self.clock, self.near = base.rstrip("/"), clock, near
        self.token = token
        self.headers: dict[str, str] = {}
        self._session: aiohttp.ClientSession | None = None

    @property
    def closed(self) -> bool:
        """Never, for tweepy: a closed session would make it open one of its own."""
        return False

    def request(self, method: str, url: str, **given: Any) -> _Visit:
        """What tweepy calls; to be entered with `async with`."""
        from yarl import URL

        return _Visit(self, method, URL(self.base + urlsplit(url).path), given)

    async def carry(self, method: str, url: str, content: bytes = b"") -> Reply:
        """Ask an address that X has named, without the key; its query may be secret and is never shown.

        Raises
        ------
        FeedError
        """
        from yarl import URL

        parts = urlsplit(url)
        if parts.scheme != "https" and (parts.hostname or "") not in self.near:
            raise FeedError(f"{bare(url)}: X has named an address that isn't encrypted")
        headers = {"Content-Type": "text/plain"} if content else {}
        given = {"headers": headers, "data": content or None}
        async with _Visit(self, method, URL(url, encoded=True), given, keyed=False) as answer:
            reply: Reply = answer
            return reply

    async def close(self) -> None:
        """Hang up; the door can be used again."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def open_session(self) -> aiohttp.ClientSession:
        """The session behind the door."""
        if self._session is None:
            import aiohttp

            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=_resolver(self.near), use_dns_cache=False, limit=8),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=LINE_MAX // 4,
            )
        return self._session


class _Visit:
    """One request: an answer read whole, or the open stream."""

    def __init__(self, door: Door, method: str, url: URL, given: Mapping[str, Any], *, keyed: bool = True) -> None:
        self._door, self._method, self._url, self._given, self._keyed = door, method, url, given, keyed
        self._shown = bare(str(url))
        self._response: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> Any:
        import aiohttp

        try:
            async with asyncio.timeout(DEADLINE_S):
                return await self._enter()
        except TimeoutError:
            self._hang_up()
            raise FeedError(f"{self._shown}: no whole answer within {DEADLINE_S:g} s") from None
        except aiohttp.ClientConnectorError as error:
            raise XError(f"{self._shown}: {type(error).__name__}: {redacted(str(error))}", 0) from None
        except (aiohttp.ClientError, aiohttp.InvalidURL, OSError, ValueError) as error:
            self._hang_up()
            raise FeedError(f"{self._shown}: {type(error).__name__}: {redacted(str(error))}") from None
        except BaseException:
            self._hang_up()
            raise

    async def __aexit__(self, *exc: object) -> None:
        self._hang_up()

    async def _enter(self) -> Any:
        door, given = self._door, self._given
        try:
            await look_up(self._url.host or "", self._url.port or 443, door.near)
        except FeedError as error:
            raise XError(str(error), 0, final=error.final) from None
        headers = {
            **(given.get("headers") or {}),
            "User-Agent": USER_AGENT,
            "Accept-Encoding": "gzip, deflate",
            **({"Authorization": f"Bearer {door.token}"} if self._keyed else {}),
        }
        asked = {name: given[name] for name in ("params", "json", "data") if given.get(name) is not None}
        self._response = response = await door.open_session().request(
            self._method, self._url, headers=headers, allow_redirects=False, **asked
        )
        if response.status == 200 and self._keyed and self._url.path.endswith("/stream"):
            return response
        body = await _read(response, self._shown)
        told = {name.lower(): value for name, value in response.headers.items()}
        if not 200 <= response.status < 300:
            raise refusal(response.status, told, body, self._shown, door.clock.now_ns())
        return Reply(response.status, response.reason or "", told, body, self._shown, door.clock.now_ns())

    def _hang_up(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.close()


async def _read(response: aiohttp.ClientResponse, shown: str) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > BYTES_MAX:
            raise FeedError(f"{shown}: more than {BYTES_MAX:,} bytes")
    return bytes(body)


def token_of(reference: str, tools: Tools) -> str:
    """The bearer token that a reference leads to.

    Raises
    ------
    InputError
        There is no reference, or nothing is there.
    """
    if not reference:
        remedy = "Name where your app's bearer token is, for example env:X_BEARER"
        raise InputError("X answers only with a key", key="key", value="", remedy=remedy)
    token = tools.secret(reference).strip()
    if not token or any(not 32 < ord(character) < 127 for character in token):
        raise InputError("what is there isn't a bearer token", key="key", value=reference)
    return token


def near_of(url: str) -> frozenset[str]:
    """Hosts that may be in a private network: one that the configuration names in place of X's own."""
    return frozenset() if url == BASE else frozenset({host_of(url)})


def refusal(status: int, headers: Mapping[str, str], body: bytes, shown: str, now_ns: int) -> XError:
    """An error status as X means it.

    Parameters
    ----------
    headers : mapping
        With small names. `x-rate-limit-reset` (a UNIX time) or `Retry-After` say how long X wants to be left alone.

    Returns
    -------
    XError
        Final where X itself says that the key, the plan or the credits don't allow it; a page for people, which some
        proxy between us shows, is no such word.
    """
    said = problem_text(_values(body))
    text = f"{shown}: HTTP {status}" + (f", {said}" if said else "")
    if status in (420, 429) or (status == 503 and ("retry-after" in headers or "x-rate-limit-reset" in headers)):
        return XError(f"{text}: asked too often", status, pause_s=_pause_s(headers, now_ns))
    return XError(text, status, final=status in FINAL and bool(said))


def problem_text(found: Any) -> str:
    """What X says of a problem, on one line, bounded; empty when it says nothing that can be read."""
    if not isinstance(found, dict):
        return ""
    errors = found.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else found
    texts = [clean_text(first.get(name), most=160) for name in ("title", "message", "detail")]
    return redacted(": ".join(dict.fromkeys(text.replace("\n", " ") for text in texts if text)))


def _values(body: bytes) -> Any:
    try:
        return read_json(body, "")
    except FeedError:
        return None


def _pause_s(headers: Mapping[str, str], now_ns: int) -> float:
    try:
        reset_s = float(headers.get("x-rate-limit-reset", "")) - now_ns / SECOND_NS
    except ValueError:
        reset_s = math.nan
    if math.isfinite(reset_s):
        return min(max(reset_s, 1.0), PAUSE_MAX_S)
    return retry_after_s(headers.get("retry-after"), now_ns, BUSY_S)


def _resolver(near: frozenset[str]) -> Any:
    """Names lead where `look_up` allows, so that a second look-up can't lead elsewhere than the first."""
    from aiohttp.abc import AbstractResolver, ResolveResult

    class Resolver(AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            address = await look_up(host, port, near)
            kind = socket.AF_INET6 if ":" in address else socket.AF_INET
            return [
                ResolveResult(
                    hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST
                )
            ]  # fmt: skip

        async def close(self) -> None:
            return None

    return Resolver()
