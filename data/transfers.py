"""Transfers to and from a user's labelled addresses, added up: what came in, what went out, and the difference.

A transfer between two addresses of one label moves nothing in or out of it. Amounts are whole units of the chain
(wei and the like) until they are reported, so that no sum is rounded twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field

from data.errors import InputError
from data.feed import Options, Reading
from data.readings import is_metric_name

UNITS_MAX: Final = 2**256
_ADDRESS = re.compile(r"0x[0-9a-f]{40}")


class Token(Options):
    """An ERC-20 token of an account-based chain."""

    contract: str = Field(description="address of its contract")
    decimals: int = Field(ge=0, le=36, description="digits behind the point of one whole token")


@dataclass(frozen=True, slots=True)
class Transfer:
    """Whole units from one address to another, both in small letters."""

    sender: str
    receiver: str
    units: int


class Labels:
    """Names for groups of addresses.

    Parameters
    ----------
    labels : mapping of str to sequence of str
        Label to addresses: `{"exchange": ["0x...", "0x..."]}`.

    Raises
    ------
    InputError
        A label can't be part of a metric's name, or something isn't an address.
    """

    def __init__(self, labels: Mapping[str, Sequence[str]]) -> None:
        self._members: dict[str, frozenset[str]] = {}
        for label, addresses in labels.items():
            if not is_metric_name(label):
                remedy = "Small letters, digits and underscores, a letter first"
                raise InputError("not a label", key="labels", value=label, remedy=remedy)
            if not addresses:
                raise InputError("a label without addresses", key=f"labels.{label}", remedy="Name some addresses")
            self._members[label] = frozenset(address_of(text, f"labels.{label}") for text in addresses)
        self.addresses = tuple(sorted(set().union(*self._members.values())))

    def __bool__(self) -> bool:
        return bool(self._members)

    def tally(self) -> Tally:
        """An empty sum."""
        return Tally(self._members)

    def names(self) -> Iterator[str]:
        """Names of all metrics."""
        for label in self._members:
            yield from (f"{label}_inflow", f"{label}_outflow", f"{label}_netflow")


class Tally:
    """In- and outflows of labels within an interval, for one coin; see `Labels.tally`."""

    def __init__(self, members: Mapping[str, frozenset[str]]) -> None:
        self._members = members
        self._in, self._out = dict.fromkeys(members, 0), dict.fromkeys(members, 0)

    def add(self, transfers: Iterable[Transfer], *, seen_from: str = "") -> None:
        """Count transfers.

        Parameters
        ----------
        seen_from : str
            They were asked for by this address: only its own side of each is counted, as the other side may be asked
            for as well. Empty: each transfer comes once, and both sides are counted.
        """
        for transfer in transfers:
            for label, members in self._members.items():
                entered, left = transfer.receiver in members, transfer.sender in members
                if entered and not left and seen_from in ("", transfer.receiver):
                    self._in[label] += transfer.units
                if left and not entered and seen_from in ("", transfer.sender):
                    self._out[label] += transfer.units

    def readings(self, coin: str, decimals: int, event_ns: int) -> Iterator[Reading]:
        """The three metrics of each label, in whole coins."""
        scale = 10**decimals
        for label in self._members:
            came, went = self._in[label], self._out[label]
            yield Reading(f"{label}_inflow", coin, event_ns, came / scale)
            yield Reading(f"{label}_outflow", coin, event_ns, went / scale)
            yield Reading(f"{label}_netflow", coin, event_ns, (came - went) / scale)


def address_of(text: str, key: str) -> str:
    """An address in small letters.

    Raises
    ------
    InputError
        It isn't one.
    """
    address = text.strip().lower()
    if not _ADDRESS.fullmatch(address):
        raise InputError("not an address", key=key, value=text, remedy="0x and 40 hexadecimal digits")
    return address


def whole(value: Any, most: int = UNITS_MAX) -> int:
    """A whole number that isn't negative, also one written as decimal text or as `0x` text.

    Raises
    ------
    ValueError
        It isn't one, or too large.
    """
    if isinstance(value, str):
        value = int(value, 16) if value.startswith("0x") else int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError("not a whole number of units")
    return value
