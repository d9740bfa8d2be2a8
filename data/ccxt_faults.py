"""What ccxt raises, and how a message of it may be shown."""

from __future__ import annotations

from urllib.parse import urlsplit


def troubles() -> tuple[type[Exception], ...]:
    """What ccxt raises when a venue or the line to it is in trouble: it reads garbage with plain Python errors."""
    import aiohttp
    import ccxt

    plain = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, TimeoutError, OSError)
    return (ccxt.BaseError, aiohttp.ClientError, *plain)


def first_line(error: BaseException) -> str:
    """The first line of an error's text, cut to a readable length, addresses without what follows their path."""
    lines = str(error).splitlines()
    words = (lines[0] if lines else type(error).__name__).split(" ")
    told = [urlsplit(word)._replace(query="").geturl() if "://" in word else word for word in words]
    return " ".join(told)[:200]
