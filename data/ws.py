"""The one way to WebSockets: addresses that are allowed, messages that are bounded, ends that have names.

What comes over a line is hostile input, as an answer is: a message has a limit of bytes, so has what waits to be read,
and the opening, a pong and the farewell have limits of time. A line that says nothing is asked for a pong; one that
answers pongs only may be given a limit of silence as well. Nothing here connects again by itself.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from data.clean import clean_name
from data.errors import InputError
from data.feed import Clock, FeedError, Tools
from data.http import BUSY_S, USER_AGENT, bare, look_up, redacted, refusal
from data.trust import authorities

if TYPE_CHECKING:
    import ssl

    from websockets.asyncio.client import ClientConnection
    from websockets.exceptions import ConnectionClosed

MESSAGE_MAX: Final = 1024 * 1024
WAITING_MAX: Final = 32 * 1024 * 1024
"""Bytes of messages that may wait to be read; then the line isn't read on, and the other side has to wait."""

OPEN_S: Final = 15.0
PONG_S: Final = 20.0
CLOSE_S: Final = 2.0
MANY: Final = 500
SECRET_CHARS: Final = 4
_CODES: Final = {
    1000: "done", 1001: "it goes away", 1002: "a fault of protocol", 1003: "data that it doesn't take",
    1006: "without a farewell", 1007: "text that isn't UTF-8", 1008: "against its policy", 1009: "a message too big",
    1011: "a fault of its own", 1012: "it starts again", 1013: "busy", 1015: "no secure line",
}  # fmt: skip
_BUSY_CODES: Final = frozenset({1013})


class LineError(FeedError):
    """A line ended; `code` is the close code that the other side gave, or 1006 when it gave none."""

    def __init__(self, text: str, code: int, *, pause_s: float = 0.0) -> None:
        super().__init__(text, pause_s=pause_s)
        self.code = code


@dataclass(frozen=True, slots=True)
class Heard:
    """Messages in the order in which they came, and our clock when the last of them was in."""

    messages: Sequence[str | bytes]
    arrived_ns: int


class Line:
    """An open WebSocket; `open_line` makes it."""

    def __init__(self, connection: ClientConnection, shown: str, tools: Tools, secrets: Sequence[str]) -> None:
        self.shown = shown
        self._connection, self._tools, self._secrets = connection, tools, secrets
        self._pong_s, self._silence_s = PONG_S, 0.0
        self._most = MESSAGE_MAX

    async def hear(self, most: int = MANY, within_s: float = 0.25) -> Heard:
        """Wait for a message, and take those that come soon after it.

        Parameters
        ----------
        most : int
            Messages at most.
        within_s : float
            How long more are waited for after the first.

        Returns
        -------
        Heard
            One message at least.

        Raises
        ------
        FeedError
            The line ended, no pong came, or nothing was said for longer than the limit of silence.
        """
        with self._named():
            messages = [await self._first()]
            if most > 1:
                try:
                    async with asyncio.timeout(within_s):
                        while len(messages) < most:
                            messages.append(await self._connection.recv())
                except TimeoutError:
                    pass
                except self._closed() as error:  # what was heard counts; the next call tells of the end
                    del error
        self._tools.alive()
        return Heard(messages, self._tools.clock.now_ns())

    async def say(self, message: Any) -> None:
        """Send a text as it is, anything else as JSON.

        Raises
        ------
        FeedError
            The line ended.
        """
        text = message if isinstance(message, str) else json.dumps(message)
        with self._named():
            async with asyncio.timeout(self._pong_s):
                await self._connection.send(text)

    async def _first(self) -> str | bytes:
        """The next message; a silent line is asked for a pong again and again."""
        silent_s = 0.0
        while True:
            wait_s = min(self._pong_s, self._silence_s - silent_s) if self._silence_s else self._pong_s
            try:
                async with asyncio.timeout(wait_s):
                    return await self._connection.recv()
            except TimeoutError:
                silent_s += wait_s
            if self._silence_s and silent_s >= self._silence_s:
                raise FeedError(f"{self.shown}: silent for {self._silence_s:g} s")
            try:
                async with asyncio.timeout(self._pong_s):
                    await (await self._connection.ping())
            except TimeoutError:
                raise FeedError(f"{self.shown}: no pong within {self._pong_s:g} s") from None
            self._tools.alive()

    @staticmethod
    def _closed() -> type[ConnectionClosed]:
        from websockets.exceptions import ConnectionClosed

        return ConnectionClosed

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Each way in which the library tells of an end, as a FeedError."""
        try:
            yield
        except self._closed() as error:
            raise _farewell(error, self.shown, self._most, self._secrets) from None
        except TimeoutError:
            raise FeedError(f"{self.shown}: takes nothing that is sent") from None
        except (OSError, UnicodeDecodeError) as error:
            raise FeedError(_told(f"{self.shown}: {type(error).__name__}: {error}", self._secrets)) from None


@asynccontextmanager
async def open_line(
    url: str,
    tools: Tools,
    *,
    params: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
    headers: Mapping[str, str] | None = None,
    secrets: Sequence[str] = (),
    most: int = MESSAGE_MAX,
    silence_s: float = 0.0,
    pong_s: float = PONG_S,
    open_s: float = OPEN_S,
    trusted: ssl.SSLContext | None = None,
) -> AsyncIterator[Line]:
    """Open a WebSocket; it is closed at the end.

    Parameters
    ----------
    url : str
        `wss://`; `ws://` only to a host that the configuration itself names.
    tools : Tools
        Its `http` says which hosts may be near; its `alive` is called for messages and pongs.
    params, headers : mapping, optional
        They may hold secrets: no message repeats their values.
    secrets : sequence of str
        What else no message may repeat: of what will be said over the line.
    most : int
        Bytes of a message.
    silence_s : float
        A line that brought nothing for so long counts as broken, even if it answers pongs; 0: it may be silent.
    pong_s : float
        A line that was silent for so long is asked for a pong, and has so long to give it.
    open_s : float
        For looking up, connecting and the handshake together.
    trusted : ssl.SSLContext, optional
        Whom to trust instead of the usual authorities.

    Raises
    ------
    FeedError
        No line, or it ended; `pause_s` and `final` say what to do about it.
    InputError
        The address itself isn't allowed.
    """
    from websockets.exceptions import WebSocketException

    asked, shown = _address(url, params, tools.http.near), bare(url)
    hidden = [*secrets, *(headers or {}).values(), *(value for _, value in parse_qsl(urlsplit(asked).query))]
    try:
        async with asyncio.timeout(open_s):
            connection = await _connect(asked, tools, headers, most, trusted)
    except TimeoutError:
        raise FeedError(f"{shown}: not open within {open_s:g} s") from None
    except (WebSocketException, OSError, ValueError, EOFError) as error:
        raise _refused(error, shown, tools.clock, hidden) from None
    line = Line(connection, shown, tools, hidden)
    line._pong_s, line._silence_s, line._most = pong_s, silence_s, most
    try:
        yield line
    finally:
        await connection.close()


async def _connect(
    url: str, tools: Tools, headers: Mapping[str, str] | None, most: int, trusted: ssl.SSLContext | None
) -> ClientConnection:
    """Connect to the address that was looked up and found allowed: the name isn't looked up a second time."""
    from websockets.asyncio.client import connect

    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "wss" else 80)
    address = await look_up(host, port, tools.http.near)
    more: dict[str, Any] = {"ssl": trusted or authorities()} if parts.scheme == "wss" else {}
    return await connect(
        url, host=address, port=port, additional_headers=dict(headers or {}), user_agent_header=USER_AGENT,
        proxy=None, compression=None, open_timeout=None, ping_interval=None, close_timeout=CLOSE_S,
        max_size=most, max_queue=min(max(WAITING_MAX // most, 4), 1024), **more,
    )  # fmt: skip


def _address(url: str, params: Any, near: frozenset[str]) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise InputError("not the address of a WebSocket", key="url", value=bare(url), remedy="It begins with wss://")
    if parts.username or parts.password:
        raise InputError("an address with a password in it", key="url", value=bare(url), remedy="Use a header or a key")
    if parts.scheme == "ws" and parts.hostname not in near:
        raise InputError("an unencrypted address", key="url", value=bare(url), remedy="Use wss://")
    query = "&".join(part for part in (parts.query, urlencode(params or ())) if part)
    return parts._replace(query=query, fragment="").geturl()


def _refused(error: Exception, shown: str, clock: Clock, secrets: Sequence[str]) -> FeedError:
    """Why there is no line."""
    from websockets.exceptions import InvalidStatus

    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        if status < 300:
            return FeedError(f"{shown}: a page instead of a WebSocket (HTTP {status})")
        if status < 400:
            return FeedError(f"{shown}: leads elsewhere (HTTP {status}), which isn't followed")
        headers = {name.lower(): value for name, value in error.response.headers.raw_items()}
        return refusal(status, headers, shown, clock.now_ns())
    if isinstance(error, ValueError) and "redirect" in str(error):  # to another host
        return FeedError(f"{shown}: leads elsewhere, which isn't followed")
    return FeedError(_told(f"{shown}: {type(error).__name__}: {error}", secrets))


def _farewell(error: ConnectionClosed, shown: str, most: int, secrets: Sequence[str]) -> FeedError:
    """How a line ended: by the other side with a code, by us for what it sent, or by nobody's word."""
    if error.rcvd is None and error.sent is not None:
        what = f"a message of more than {most:,} bytes" if error.sent.code == 1009 else "what isn't WebSocket"
        if error.sent.code == 1007:
            what = "text that isn't UTF-8"
        return LineError(f"{shown}: sent {what}", error.sent.code)
    code, reason = (error.rcvd.code, clean_name(error.rcvd.reason)) if error.rcvd is not None else (1006, "")
    text = f"{shown}: closed with {code} ({_CODES.get(code, 'a code of its own')}){': ' if reason else ''}{reason}"
    return LineError(_told(text, secrets), code, pause_s=BUSY_S if code in _BUSY_CODES else 0.0)


def _told(text: str, secrets: Sequence[str]) -> str:
    """A message without what has to stay secret."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SECRET_CHARS:
            text = text.replace(secret, "***")
    return redacted(text)
