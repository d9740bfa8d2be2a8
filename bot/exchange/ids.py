"""Client order ids: whose an order at the venue is, and which of the desk's orders it is.

32 lower-case hex characters, which fit every venue: bot id (8), session (8), the desk's order number (16). "Ours" is
what begins with the bot id. Ours with a session that the journal doesn't know comes from a second instance.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from data.errors import InputError

_SHAPE = re.compile(r"[0-9a-f]{32}\Z")
_PART = re.compile(r"[0-9a-f]{8}\Z")
Owner = Literal["ours", "stranger", "foreign"]


def client_id(*, bot_id: str, session: str, order: int) -> str:
    """The client id of the desk's order number `order`.

    Raises
    ------
    InputError
        A part isn't 8 lower-case hex characters, or the number isn't in 0 .. 2**64 - 1.
    """
    for key, part in (("bot id", bot_id), ("session", session)):
        if not _PART.match(part):
            raise InputError("has to be 8 lower-case hex characters", key=key, value=part)
    if not 0 <= order < 2**64:
        raise InputError("isn't an order number", key="order", value=order)
    return f"{bot_id}{session}{order:016x}"


class Ids:
    """Makes and reads the client ids of one bot in one session.

    Parameters
    ----------
    bot_id, session : str
        8 hex characters each.
    known : iterable of str
        Sessions that the journal knows, this one or not.
    """

    def __init__(self, bot_id: str, session: str, known: Iterable[str] = ()) -> None:
        self.bot_id = bot_id
        self.session = session
        self.known = frozenset(known) | {session}
        client_id(bot_id=bot_id, session=session, order=0)

    def make(self, order: int, session: str | None = None) -> str:
        """Client id of an order of this session, or of the earlier one named."""
        return client_id(bot_id=self.bot_id, session=self.session if session is None else session, order=order)

    def owner(self, text: str) -> Owner:
        """Whose order it is: "ours", a "stranger"'s (our bot id, a session nobody knows), or "foreign"."""
        if not text.startswith(self.bot_id):
            return "foreign"
        return "ours" if _SHAPE.match(text) and text[8:16] in self.known else "stranger"

    def order(self, text: str) -> int:
        """The desk's order number in a client id of ours."""
        return int(text[16:], 16)
