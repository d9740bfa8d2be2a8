"""Closing ccxt's asynchronous objects so that nothing of them stays open."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, NoReturn

from data.ccxt_faults import first_line

LOG = logging.getLogger("tidegate.ccxt")


async def hang_up(made: Any, timeout_s: float) -> None:
    """Close a ccxt object for good within `timeout_s` seconds; whatever went wrong is logged.

    ccxt first takes leave of every stream, which may last, fail or be cancelled, and only then closes its session. That
    one, where it is ccxt's own, is closed in any case. And whoever still waits for its turn to ask for a stream would
    make it open another session that nobody closes: it is told that the line is cut.
    """
    session = made.session if made.own_session else None
    made.open = _refuse
    try:
        async with asyncio.timeout(timeout_s):
            await made.close()
    except Exception as error:  # whatever state it is in, we are leaving
        LOG.warning("%s: a connection didn't close: %s", made.id, first_line(error) or type(error).__name__)
    finally:
        if session is not None and not session.closed:
            made.session = None
            await session.close()  # its sockets are closed at once, before this could be cancelled


def _refuse(lazy: bool = False) -> NoReturn:
    """In the place of ccxt's `open`."""
    import ccxt

    raise ccxt.NetworkError("closed on our side")
