"""The one way to plain HTTP: addresses that are allowed, answers that are bounded, failures that have names.

What a source answers is hostile input. An answer has a limit of bytes (counted after decompression), of time for the
whole of it, and of redirects; a host that resolves to a private address is refused unless the configuration itself
names such a host; nothing is cached, no cookie is kept, no proxy or password is taken from the environment.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import math
import re
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

from data.errors import InputError
from data.feed import Clock, FeedError
from data.times import SECOND_NS

if TYPE_CHECKING:
    import httpx

BYTES_MAX: Final = 16 * 1024 * 1024
DEADLINE_S: Final = 30.0
CONNECT_S: Final = 10.0
REDIRECTS_MAX: Final = 3
BUSY_S: Final = 60.0
PAUSE_MAX_S: Final = 6 * 3600.0
USER_AGENT: Final = "tidegate (research; one client)"
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_SECRET = re.compile(r"(?i)((?:api[-_]?key|apikey|access[-_]?token|token|key|secret|signature)=)[^&\s]+")


@dataclass(frozen=True)
class Answer:
    """A whole answer: status, headers with small names, body, the address that gave it, our clock when it was in."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    arrived_ns: int

    def text(self) -> str:
        """The body as text by its declared character set, else UTF-8; what can't be read is replaced."""
        found = re.search(r"charset=\"?([\w.-]+)", self.headers.get("content-type", ""))
        try:
            return self.body.decode(found[1] if found else "utf-8", "replace")
        except LookupError:
            return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON values.

        Raises
        ------
        FeedError
            It isn't JSON: cut off, a page for people, nested without end, or with numbers that aren't.
        """
        return read_json(self.body, self.url)


class Http:
    """A client for many sources; open it with `async with`.

    Parameters
    ----------
    clock : Clock
    near : frozenset of str
        Hosts that may lie on this machine or in a private network: those that the configuration names by itself.
    """

    def __init__(self, clock: Clock, near: frozenset[str] = frozenset()) -> None:
        self._clock, self.near = clock, near
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Http:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Hang up."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def get(
        self,
        url: str,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        deadline_s: float = DEADLINE_S,
        most: int = BYTES_MAX,
        statuses: frozenset[int] = frozenset({200}),
    ) -> Answer:
        """Ask, and take the whole answer.

        Parameters
        ----------
        params, headers : mapping, optional
            They may hold secrets: no message repeats them. They go to the asked host only, not where it redirects to.
        deadline_s : float
            For the whole of it: a source that answers byte by byte doesn't hold us.
        most : int
            Bytes of body at most.
        statuses : frozenset of int
            What counts as an answer; 304 for conditional questions.

        Raises
        ------
        FeedError
            No answer, or one that is refused; `pause_s` and `final` say what to do about it.
        InputError
            The address itself isn't allowed.
        """
        return await self._ask("GET", url, params, headers, None, deadline_s, most, statuses)

    async def post(
        self,
        url: str,
        body: Any,
        headers: Mapping[str, str] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        deadline_s: float = DEADLINE_S,
        most: int = BYTES_MAX,
        statuses: frozenset[int] = frozenset({200}),
    ) -> Answer:
        """Ask with a body, as JSON unless it is bytes; see `get`. No redirect is followed: a body may hold secrets."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        told = {"content-type": "application/json", **(headers or {})}
        return await self._ask("POST", url, params, told, content, deadline_s, most, statuses)

    async def _ask(
        self,
        method: str,
        url: str,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        content: bytes | None,
        deadline_s: float,
        most: int,
        statuses: frozenset[int],
    ) -> Answer:
        import httpx

        shown = bare(url)
        try:
            async with asyncio.timeout(deadline_s):
                for _ in range(REDIRECTS_MAX + 1):
                    async with self._open(method, url, params, headers, content) as told:
                        if told.status_code not in REDIRECTS or told.status_code in statuses:
                            return await self._take(told, shown, most, statuses)
                        if content is not None:
                            raise FeedError(f"{shown}: redirects a question with a body, which isn't followed")
                        url = _next_address(url, told.headers.get("location", ""))
                    params, headers = None, None
                raise FeedError(f"{shown}: redirects without end")
        except TimeoutError:
            raise FeedError(f"{shown}: no whole answer within {deadline_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
            raise FeedError(f"{shown}: {type(error).__name__}: {redacted(str(error))}") from None

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        url: str,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        content: bytes | None,
    ) -> AsyncIterator[httpx.Response]:
        """Send to an address that was looked up and found allowed: the name isn't looked up a second time."""
        parts, host = _checked(url)
        address = await self._look_up(host, parts.port or (443 if parts.scheme == "https" else 80))
        client = self._open_client()
        told = {"user-agent": USER_AGENT, "accept-encoding": "gzip, deflate", **(headers or {})}
        told["host"] = parts.netloc.rpartition("@")[2]
        target = parts._replace(netloc=_netloc(address, parts.port)).geturl()
        asked = client.stream(
            method, target, params=dict(params) if params else None, headers=told, content=content,
            extensions={"sni_hostname": host},
        )  # fmt: skip
        async with asked as response:
            yield response

    def _open_client(self) -> httpx.AsyncClient:
        if self._client is None:
            import httpx

            timeout = httpx.Timeout(DEADLINE_S, connect=CONNECT_S)
            limits = httpx.Limits(max_connections=32, max_keepalive_connections=8, keepalive_expiry=30)
            self._client = httpx.AsyncClient(
                verify=_trust(),
                timeout=timeout,
                limits=limits,
                follow_redirects=False,
                trust_env=False,
                http1=True,
                http2=False,
            )
        self._client.cookies.clear()
        return self._client

    async def _look_up(self, host: str, port: int) -> str:
        """The first address of a host, all of which have to be allowed."""
        return await look_up(host, port, self.near)

    async def _take(self, told: httpx.Response, shown: str, most: int, statuses: frozenset[int]) -> Answer:
        headers = {name.lower(): value for name, value in told.headers.items()}
        if told.status_code not in statuses:
            raise refusal(told.status_code, headers, shown, self._clock.now_ns())
        body = bytearray()
        async for piece in told.aiter_bytes(65_536):
            body += piece
            if len(body) > most:
                raise FeedError(f"{shown}: more than {most:,} bytes")
        return Answer(told.status_code, headers, bytes(body), shown, self._clock.now_ns())


def refusal(status: int, headers: Mapping[str, str], shown: str, now_ns: int) -> FeedError:
    """What a status that is no answer means: how long to wait, or that waiting doesn't mend it.

    Parameters
    ----------
    headers : mapping
        With small names.
    shown : str
        The address without secrets.
    """
    said = headers.get("retry-after")
    if status == 429 or (status == 503 and said):
        return FeedError(f"{shown}: asked too often (HTTP {status})", pause_s=retry_after_s(said, now_ns, BUSY_S))
    return FeedError(f"{shown}: HTTP {status}", final=status in (401, 403, 404, 410))


@cache
def _trust() -> ssl.SSLContext:
    """Whose certificates are believed; reading them takes longer than most answers."""
    import httpx

    return httpx.create_ssl_context()


async def look_up(host: str, port: int, near: frozenset[str]) -> str:
    """The address of a host; refused when any of its addresses is private and the host isn't named in `near`.

    Raises
    ------
    FeedError
        The name isn't known, or leads into a private network (final).
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise FeedError(f"{host}: the name can't be looked up ({error.strerror or error})") from None
    addresses = [str(entry[4][0]) for entry in found]
    if host not in near:
        for address in addresses:
            if not _is_public(address):
                raise FeedError(f"{host} leads into a private network ({address})", final=True)
    return addresses[0]


def read_json(body: bytes | str, shown: str) -> Any:
    """JSON values of an answer or a message.

    Raises
    ------
    FeedError
        It isn't JSON.
    """
    try:
        return json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        head = body[:64] if isinstance(body, str) else body[:64].decode("utf-8", "replace")
        page = head.lstrip().lower().startswith(("<!doctype", "<html"))
        what = "a page for people instead of data" if page else f"not whole JSON ({str(error)[:80]})"
        raise FeedError(f"{shown}: {what}") from None


def retry_after_s(said: str | None, now_ns: int, guess_s: float, most_s: float = PAUSE_MAX_S) -> float:
    """Seconds to wait by a `Retry-After` header, a number or a date; the guess where there is none to be read.

    most_s: nobody is waited for longer.
    """
    seconds = guess_s
    if said is not None:
        try:
            seconds = float(said)
        except ValueError:
            try:
                seconds = parsedate_to_datetime(said).timestamp() - now_ns / SECOND_NS
            except (TypeError, ValueError):
                seconds = guess_s
    return min(max(seconds, 1.0), most_s) if math.isfinite(seconds) else guess_s


def bare(url: str) -> str:
    """An address without what may be secret in it: user, password, query, fragment."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def redacted(text: str) -> str:
    """A message without the values of parameters that look like secrets, on one line, cut."""
    return " ".join(_SECRET.sub(r"\1***", text).split())[:300]


def host_of(url: str) -> str:
    """The host that an address names, for `Http`'s `near`."""
    return urlsplit(url).hostname or ""


def _checked(url: str) -> tuple[Any, str]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        remedy = "Only http:// and https:// addresses are asked"
        raise InputError("not an address that may be asked", key="url", value=bare(url), remedy=remedy)
    if parts.username or parts.password:
        raise InputError("an address with a password in it", key="url", value=bare(url), remedy="Use a header or a key")
    return parts, parts.hostname


def _next_address(url: str, location: str) -> str:
    target = urljoin(url, location)
    parts = urlsplit(target)
    if not location or parts.scheme not in ("http", "https") or parts.username:
        raise FeedError(f"{bare(url)}: redirects to what isn't a web address")
    if urlsplit(url).scheme == "https" and parts.scheme != "https":
        raise FeedError(f"{bare(url)}: redirects to an unencrypted address")
    return target


def _netloc(address: str, port: int | None) -> str:
    shown = f"[{address}]" if ":" in address else address
    return shown if port is None else f"{shown}:{port}"


def _is_public(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.is_global and not found.is_multicast


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")
