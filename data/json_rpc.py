"""A JSON-RPC node through web3: bounded answers, no retries of its own, failures that have names.

The endpoint is named by the user, so it may lie in a private network; nothing that it answers leads anywhere else, and
it is never shown: providers put keys into its path.
"""

from __future__ import annotations

import asyncio
import re
import sys
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from data.clean import clean_text
from data.errors import InputError
from data.feed import FeedError, Tools
from data.http import PAUSE_MAX_S, redacted, retry_after_s
from data.transfers import UNITS_MAX

if TYPE_CHECKING:
    import aiohttp

BYTES_MAX: Final = 32 * 1024 * 1024
BUSY_S: Final = 10.0
_BUSY = re.compile(r"rate.?limit|request rate|too many requests|per second|throughput|daily|capacity", re.IGNORECASE)
_WIDE = re.compile(
    r"more than \d+ results|max(imum)? results|response size|block range|too (many|large|wide|big)|exceed|limited to",
    re.IGNORECASE,
)
_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
_REFERENCE = re.compile(r"(env|file|credential):")


class TooMuchError(FeedError):
    """A question whose answer the node finds too large: a smaller one may do."""


class Node:
    """A node that is being asked; open it with `async with`.

    Parameters
    ----------
    endpoint : str
        Address, or a reference to it (`env:NAME`) where it holds a key.
    tools : Tools
    timeout_s : float
        For the whole of an answer.
    pace_s : float
        Pause before each question.

    Raises
    ------
    InputError
        Not an address, or the package web3 isn't there.
    """

    def __init__(self, endpoint: str, tools: Tools, timeout_s: float, pace_s: float) -> None:
        url = tools.secret(endpoint) if _REFERENCE.match(endpoint) else endpoint
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            remedy = "http:// or https:// and a host, or env:NAME where that stands"
            raise InputError("not the address of a node", key="endpoint", value=endpoint or "(empty)", remedy=remedy)
        self.shown = f"{parts.scheme}://{parts.hostname}"
        self.answered_ns = 0
        self._url, self._tools, self._timeout_s, self._pace_s = url, tools, timeout_s, pace_s
        self._provider: Any = None

    async def __aenter__(self) -> Node:
        provider = await asyncio.to_thread(load_provider)  # takes seconds; other feeds go on meanwhile
        self._provider = provider(
            self._url, request_kwargs={"allow_redirects": False}, exception_retry_configuration=None
        )
        await self._provider.cache_async_session(_session())
        return self

    async def __aexit__(self, *exc: object) -> None:
        provider, self._provider = self._provider, None
        await provider.disconnect()

    async def ask(self, method: str, *params: Any) -> Any:
        """The result of a call.

        Raises
        ------
        TooMuchError
            The node finds the answer too large.
        FeedError
            No answer, or one that is none.
        """
        import aiohttp

        await self._tools.sleep(self._pace_s)
        what = f"{self.shown} {method}"
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._provider.make_request(method, list(params))
        except TimeoutError:
            raise FeedError(f"{what}: no whole answer within {self._timeout_s:g} s") from None
        except aiohttp.ClientResponseError as error:
            raise self._refusal(what, error) from None
        except (aiohttp.ClientError, OSError) as error:
            raise FeedError(f"{what}: {type(error).__name__}") from None
        except (ValueError, RecursionError) as error:
            raise FeedError(f"{what}: not whole JSON ({type(error).__name__})") from None
        self.answered_ns = self._tools.clock.now_ns()
        self._tools.alive()
        if not isinstance(answer, dict):
            raise FeedError(f"{what}: the answer is no object")
        if answer.get("error") is not None:
            raise self._named(what, answer["error"])
        if "result" not in answer:
            raise FeedError(f"{what}: the answer has no result")
        return answer["result"]

    def _refusal(self, what: str, error: aiohttp.ClientResponseError) -> FeedError:
        said = error.headers.get("Retry-After") if error.headers else None
        if error.status == 429 or (error.status == 503 and said):
            pause_s = retry_after_s(said, self._tools.clock.now_ns(), BUSY_S)
            return FeedError(f"{what}: asked too often (HTTP {error.status})", pause_s=pause_s)
        return FeedError(f"{what}: HTTP {error.status}", final=error.status in (401, 403, 404, 410))

    def _named(self, what: str, error: Any) -> FeedError:
        told = error if isinstance(error, dict) else {"message": error}
        said = told.get("message")
        text = redacted(clean_text(said if isinstance(said, str) else repr(said), most=300)).replace(self._url, "***")
        shown = f"{what}: {text} ({told.get('code')})"
        if _BUSY.search(text):
            return FeedError(shown, pause_s=min(BUSY_S, PAUSE_MAX_S))
        if _WIDE.search(text) or told.get("code") == -32005:
            return TooMuchError(shown)
        return FeedError(shown, final=told.get("code") == -32601)


def quantity(value: Any, most: int = UNITS_MAX) -> int:
    """A number as JSON-RPC writes it, `0x1f`.

    Raises
    ------
    ValueError
        It isn't one, or too large.
    """
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value) or int(value, 16) > most:
        raise ValueError("not a quantity")
    return int(value, 16)


def load_provider() -> Any:
    """The class of web3's provider, imported without its side effect.

    A package below web3 lifts the interpreter's recursion limit to 100,000: JSON nested as deeply, from any source,
    would then end the process by a stack overflow where it is a RecursionError otherwise. The limit is put back.

    Raises
    ------
    InputError
        The package isn't there.
    """
    limit = sys.getrecursionlimit()
    try:
        from web3 import AsyncHTTPProvider
    except ImportError:
        remedy = "Install it: pip install 'tidegate[node]'"
        raise InputError("the package web3 isn't installed", key="source", value="node", remedy=remedy) from None
    finally:
        sys.setrecursionlimit(limit)
    return AsyncHTTPProvider


def _session() -> aiohttp.ClientSession:
    import aiohttp

    class Bounded(aiohttp.ClientResponse):
        """An answer that isn't read beyond a limit."""

        async def read(self) -> bytes:
            if self._body is None:
                body = bytearray()
                try:
                    async for piece in self.content.iter_chunked(65_536):
                        body += piece
                        if len(body) > BYTES_MAX:
                            raise aiohttp.ClientPayloadError("too large an answer")
                except BaseException:
                    self.close()
                    raise
                self._body = bytes(body)
            return self._body

    return aiohttp.ClientSession(
        raise_for_status=True, response_class=Bounded, connector=aiohttp.TCPConnector(limit=2),
        cookie_jar=aiohttp.DummyCookieJar(), trust_env=False,
    )  # fmt: skip
