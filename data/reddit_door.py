"""Reddit's own client library behind the one way to HTTP: its requests are made by `data.http`, its errors have names.

By itself asyncpraw reads `praw.ini` from the current folder (which may send the keys elsewhere), takes answers of any
size, asks again after failures, and sleeps for minutes within a call when the rate limit is used up. Here every setting
is given, an answer is bounded, a failure is a FeedError at once, and a used-up limit is one that says how long to wait.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from data.errors import InputError
from data.feed import FeedError, Tools
from data.http import Answer
from data.times import SECOND_NS

UNAUTHORIZED: Final = 401
FORM: Final = "application/x-www-form-urlencoded"
RESET_MAX_S: Final = 900.0


class Limit:
    """What Reddit says of its rate limit: never asked beyond it.

    Attributes
    ----------
    left : float
        Requests that may still be made in this window.
    """

    def __init__(self) -> None:
        self.left, self._opens_ns = math.inf, 0

    def check(self, now_ns: int) -> None:
        """Raises FeedError when the limit is used up, with the time until it opens."""
        if self.left < 1 and now_ns < self._opens_ns:
            pause_s = (self._opens_ns - now_ns) / SECOND_NS
            raise FeedError(f"Reddit's rate limit is used up for {pause_s:.0f} s", pause_s=pause_s)

    def hear(self, headers: Mapping[str, str], now_ns: int) -> None:
        """Take in the headers of an answer."""
        try:
            left, reset_s = float(headers["x-ratelimit-remaining"]), float(headers["x-ratelimit-reset"])
        except (KeyError, ValueError):
            return
        if math.isfinite(left) and math.isfinite(reset_s):
            self.left = left
            self._opens_ns = now_ns + round(min(max(reset_s, 1.0), RESET_MAX_S) * SECOND_NS)


@dataclass(frozen=True)
class _Reply:
    """An answer as asyncprawcore reads it; without the rate limit, which isn't its to wait for."""

    status: int
    headers: Mapping[str, str]
    answer: Answer

    async def json(self, **_: Any) -> Any:
        return self.answer.json()

    async def text(self, **_: Any) -> str:
        return self.answer.text()


def load() -> None:
    """Import asyncpraw, which takes a moment.

    Raises
    ------
    InputError
        It isn't installed.
    """
    try:
        import asyncpraw  # noqa: F401
    except ImportError:
        remedy = 'pip install "tidegate[reddit]"'
        raise InputError(
            "asyncpraw is needed and isn't installed", key="source", value="reddit", remedy=remedy
        ) from None


def open_reddit(tools: Tools, limit: Limit, *, keys: tuple[str, str], agent: str, urls: tuple[str, str]) -> Any:
    """An `asyncpraw.Reddit` that only reads.

    Parameters
    ----------
    keys : tuple of str
        The id and the secret of the application.
    urls : tuple of str
        Where the API is, and where tokens come from.
    """
    try:
        import asyncpraw
    except ImportError:
        remedy = 'pip install "tidegate[reddit]"'
        raise InputError(
            "asyncpraw is needed and isn't installed", key="source", value="reddit", remedy=remedy
        ) from None
    return asyncpraw.Reddit(
        site_name="DEFAULT", client_id=keys[0], client_secret=keys[1], user_agent=agent, oauth_url=urls[0],
        reddit_url=urls[1], check_for_updates=False, username=None, password=None, refresh_token=None,
        redirect_uri=None, requestor_class=_door(), requestor_kwargs={"tools": tools, "limit": limit},
    )  # fmt: skip


def _door() -> type:
    from asyncpraw.reddit import Requestor  # asyncprawcore's, which comes with it

    class Door(Requestor):  # type: ignore[misc]
        """Where asyncpraw makes its requests."""

        def __init__(self, *, tools: Tools, limit: Limit, **told: Any) -> None:
            super().__init__(**told)
            self._tools, self._limit = tools, limit

        async def close(self) -> None:
            """The client belongs to somebody else."""

        @asynccontextmanager
        async def request(self, method: str, url: str, **told: Any) -> AsyncIterator[_Reply]:
            """See `asyncprawcore.Requestor`."""
            self._limit.check(self._tools.clock.now_ns())
            given = {**self.headers, **(told.get("headers") or {})}
            headers = {name.lower(): str(value) for name, value in given.items() if name.lower() != "connection"}
            if told.get("auth") is not None:
                headers["authorization"] = told["auth"].encode()
            answer = await _ask(self._tools, method, url, told, headers)
            self._limit.hear(answer.headers, answer.arrived_ns)
            if not answer.body.strip():  # to asyncprawcore the same as an empty listing
                raise FeedError(f"{answer.url}: an empty answer")
            kept = {name: value for name, value in answer.headers.items() if not name.startswith("x-ratelimit")}
            if answer.status == UNAUTHORIZED:
                kept["www-authenticate"] = 'Bearer error="invalid_token"'  # the only form that asyncprawcore can read
            yield _Reply(answer.status, kept, answer)

    return Door


async def _ask(tools: Tools, method: str, url: str, told: Mapping[str, Any], headers: dict[str, str]) -> Answer:
    statuses = frozenset({200, UNAUTHORIZED})  # a token that is too old is asked for anew
    params = {name: str(value) for name, value in (told.get("params") or {}).items()}
    if method.upper() == "GET":
        return await tools.http.get(url, params, headers, statuses=statuses)
    sent = urlencode(told.get("data") or ()).encode()
    return await tools.http.post(url, sent, {**headers, "content-type": FORM}, params=params, statuses=statuses)


@contextmanager
def named() -> Iterator[None]:
    """What asyncpraw raises, as FeedErrors without keys or contents."""
    try:
        yield
    except (FeedError, InputError):
        raise
    except Exception as error:
        name = type(error).__name__
        if name in ("OAuthException", "InvalidToken", "InsufficientScope"):
            raise FeedError(f"Reddit refuses the keys ({name})", final=True) from None
        if name == "ResponseException" and getattr(getattr(error, "response", None), "status", 0) == UNAUTHORIZED:
            raise FeedError("Reddit refuses the keys (HTTP 401)", final=True) from None
        if isinstance(error, AttributeError | TypeError | LookupError | ValueError | AssertionError) or _theirs(error):
            raise FeedError(f"Reddit: an answer that isn't as its API is written ({name})") from None
        raise


def _theirs(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in ("asyncpraw", "asyncprawcore")
