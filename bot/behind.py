"""The records behind a decision: whoever asks which facts it stood on finds them in the journal by these numbers."""

from __future__ import annotations

from typing import Any

KINDS = ("Bar", "Posts", "Observation", "Funding")


class Behind:
    """Counts the records of facts, by kind, from one decision to the next.

    >>> behind = Behind()
    >>> for seq in (4, 5, 7):
    ...     behind.heard("Bar", seq)
    >>> behind.told()
    {'Bar': {'newest': 7, 'first_new': 4, 'new': 3}}
    >>> behind.told()
    {'Bar': {'newest': 7, 'new': 0}}
    """

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        self._new: dict[str, tuple[int, int]] = {}  # (first, how many) since the decision before

    def heard(self, kind: str, seq: int) -> None:
        """Record `seq` brought an event of that kind; others than facts are left out."""
        if kind in KINDS:
            first, count = self._new.get(kind, (seq, 0))
            self._new[kind] = (first, count + 1)
            self._newest[kind] = seq

    def told(self) -> dict[str, dict[str, Any]]:
        """Of each kind that was ever heard its newest record, and first and number of those that are new since the
        last call: signals remember the rest.
        """
        found: dict[str, dict[str, Any]] = {}
        for kind in KINDS:
            if kind in self._newest:
                first, count = self._new.get(kind, (0, 0))
                found[kind] = {"newest": self._newest[kind], **({"first_new": first} if count else {}), "new": count}
        self._new.clear()
        return found
