"""Whose certificates are believed."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl


@cache
def authorities() -> ssl.SSLContext:
    """certifi's, read once in a process: it takes longer than most answers, and nothing else runs meanwhile."""
    import ssl

    import certifi

    return ssl.create_default_context(cafile=certifi.where())


def trust_authorities(made: Any) -> None:
    """Let a ccxt object believe them too, unless its options ask for the system's beside them."""
    if not made.options.get("include_OS_certificates"):
        made.ssl_context = authorities()
