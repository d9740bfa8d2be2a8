"""Near-duplicates: which earlier text a text all but repeats, in bounded memory and in the order texts became known.

A text in normal form is reduced to what a template keeps (lower case, addresses and handles out, digits alike) and to
the set of its four-character pieces. `SIGNATURE` MinHash values (Broder 1997) stand for that set: the share in which
two texts agree estimates the Jaccard similarity of their sets. `BANDS` groups of them are looked up in tables
(locality-sensitive hashing), and the oldest of the texts found with a share of at least `ALIKE` is the one repeated.

A text belongs to the cluster of the first text it repeats; a text that repeats none opens a cluster named after itself.
Only first texts are kept, the `KEPT` newest of them, and a text never joins a cluster that became known after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from signals.text import text_key

SIGNATURE: Final = 64
BANDS: Final = 16
ALIKE: Final = 0.7
"""Two texts of similarity .8 are found in 98 of 100 cases, two of .5 in 1 of 1,000."""

KEPT: Final = 65_536
"""First texts that are remembered: 33 MB with their tables."""

CHARS_MAX: Final = 4_096
"""Of a longer text its beginning is compared."""

_PIECE: Final = 4  # bytes of a shingle
_BLOCK: Final = 512  # texts hashed together: their pieces stay in the processor's cache
_ASIDE = re.compile(r"https?://\S+|www\.\S+|@\w+")
_SLOTS: Final = 4  # of a table, for each text kept: a newer text takes an older one's slot in one case of five
_DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")

_NUMBERS: Final = np.random.default_rng(20_260_101)
_FACTORS: Final = _NUMBERS.integers(0, 2**31, SIGNATURE, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
_MASKS: Final = _NUMBERS.integers(0, 2**32, SIGNATURE, dtype=np.uint32)
_BAND_FACTORS: Final = _NUMBERS.integers(0, 2**63, (BANDS, SIGNATURE // BANDS), dtype=np.uint64) | np.uint64(1)

Signatures = NDArray[np.uint32]
"""Shape (n, SIGNATURE)."""


class First(NamedTuple):
    """The first text of a cluster: its running number, the cluster's id, when it was known, its signature."""

    number: int
    cluster: int
    known_ns: int
    signature: bytes


_WORDS: Final = (
    r"no|not|never|without|\w+n['’]t|cannot|but|if|up|down|high\w*|low\w*|above|below|more|less|better|worse|good|bad|"
    r"long\w*|short\w*|buy\w*|bought|sell\w*|sold|bull\w*|bear\w*|ris\w+|rose|fall\w*|fell|gain\w*|los[est]\w*|"
    r"surg\w*|soar\w*|jump\w*|rall\w+|plung\w*|plummet\w*|slump\w*|drop\w*|crash\w*|pump\w*|dump\w*|moon\w*|"
    r"rug\w*|scam\w*|hack\w*|win\w*|won|approv\w*|reject\w*|den[iy]\w*|ban\w*|positive|negative|increas\w*|decreas\w*"
)
_TURNS = re.compile(rf"\b(?:{_WORDS})\b|[+-](?=\d)")


def turns(normal: str) -> int:
    """Eight bytes that stand for the words of direction and negation in a text, in their order.

    Near-duplicates that differ in them are one template with two meanings ("up 3%", "down 3%"): each has a score of its
    own.
    """
    found = " ".join(_TURNS.findall(normal[:CHARS_MAX].lower()))
    return int.from_bytes(text_key(found)[8:16], "little", signed=True)


def cluster_id(normal: str) -> int:
    """The id of the cluster that a text opens: the first eight bytes of its text key; never 0."""
    return int.from_bytes(text_key(normal)[:8], "little", signed=True) or 1


def template(normal: str) -> bytes:
    """What a text keeps of itself when its addresses, handles and numbers are exchanged."""
    text = normal[:CHARS_MAX].lower()
    if "@" in text or "://" in text or "www." in text:
        text = _ASIDE.sub("", text)
    return text.encode("utf-8", "replace").translate(_DIGITS)


def signatures(normals: Sequence[str]) -> Signatures:
    """MinHash signatures of texts in normal form.

    Value k of a text is the least of ``((piece ^ mask_k) * factor_k) mod 2**32`` over its pieces, mixed beforehand.
    """
    found = np.empty((len(normals), SIGNATURE), dtype=np.uint32)
    for start in range(0, len(normals), _BLOCK):
        block = [template(text).ljust(_PIECE) for text in normals[start : start + _BLOCK]]
        pieces, starts = _pieces(block)
        for at in range(SIGNATURE):
            least = np.minimum.reduceat((pieces ^ _MASKS[at]) * _FACTORS[at], starts)
            found[start : start + len(block), at] = least
    return found


def _pieces(block: list[bytes]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Mixed four-byte pieces of some texts one behind the other, and where each text's begin."""
    lengths = np.array([len(text) for text in block])
    joined = np.frombuffer(b"".join(block), dtype=np.uint8).astype(np.uint32)
    pieces = joined[:-3] | joined[1:-2] << 8 | joined[2:-1] << 16 | joined[3:] << 24
    ends = np.cumsum(lengths)
    counts = lengths - (_PIECE - 1)
    inside = np.ones(len(pieces), dtype=bool)
    for back in range(1, _PIECE):
        inside[ends[:-1] - back] = False  # pieces that reach into the next text
    pieces = pieces[inside]
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):  # MurmurHash3's last steps
        pieces = (pieces ^ pieces >> np.uint32(shift)) * np.uint32(factor)
    return np.asarray(pieces, dtype=np.uint32), np.asarray(np.cumsum(counts) - counts, dtype=np.int64)


def similarity(one: Signatures, others: Signatures) -> NDArray[np.float64]:
    """Estimated Jaccard similarity of one text to each of the others."""
    return np.asarray((others == one).mean(axis=-1))


class Clusters:
    """The first texts of the newest clusters, and the lookup among them.

    Parameters
    ----------
    firsts : iterable of First, optional
        What an earlier run kept, oldest first.
    kept : int
        Memory: this many first texts, and as many slots in each of the `BANDS` tables.
    """

    def __init__(self, firsts: Iterable[First] = (), kept: int = KEPT) -> None:
        self.kept = kept
        self.count = 0
        self._signatures = np.zeros((kept, SIGNATURE), dtype=np.uint32)
        self._ids = np.zeros(kept, dtype=np.int64)
        self._known = np.zeros(kept, dtype=np.int64)
        self._numbers = np.full(kept, -1, dtype=np.int64)
        self._tables = np.full((BANDS, _SLOTS * kept), -1, dtype=np.int32)
        self._bands = np.arange(BANDS)
        for first in firsts:
            signature = np.frombuffer(first.signature, dtype=np.uint32)
            self.count = first.number
            self._open(signature, self._slots(signature[None])[0], first.cluster, first.known_ns)

    def place(self, normals: Sequence[str], known_ns: Sequence[int]) -> tuple[list[int], list[First]]:
        """The cluster of each text, and the first texts among them.

        Parameters
        ----------
        normals : texts in normal form, in the order they became known
        known_ns : when each was known, ns UTC
        """
        signed = signatures(normals)
        slots = self._slots(signed)
        clusters: list[int] = []
        opened: list[First] = []
        for at, normal in enumerate(normals):
            found = self._repeated(signed[at], slots[at], known_ns[at])
            if found is None:
                found = cluster_id(normal)
                opened.append(First(self.count, found, known_ns[at], signed[at].tobytes()))
                self._open(signed[at], slots[at], found, known_ns[at])
            clusters.append(found)
        return clusters, opened

    def _repeated(self, signature: Signatures, slots: NDArray[np.int64], known_ns: int) -> int | None:
        """The cluster of the oldest first text that this one repeats."""
        places = self._tables[self._bands, slots]
        places = np.unique(places[places >= 0])
        if not len(places):
            return None
        good = (similarity(signature, self._signatures[places]) >= ALIKE) & (self._known[places] <= known_ns)
        places = places[good]
        return int(self._ids[places[np.argmin(self._numbers[places])]]) if len(places) else None

    def _open(self, signature: Signatures, slots: NDArray[np.int64], cluster: int, known_ns: int) -> None:
        place = self.count % self.kept
        self._signatures[place] = signature
        self._ids[place] = cluster
        self._known[place] = known_ns
        self._numbers[place] = self.count
        self._tables[self._bands, slots] = place  # the newest text keeps a slot
        self.count += 1

    def _slots(self, signed: Signatures) -> NDArray[np.int64]:
        """Shape (n, BANDS): where in each band's table a text stands."""
        bands = signed.astype(np.uint64).reshape(len(signed), BANDS, SIGNATURE // BANDS)
        mixed = (bands * _BAND_FACTORS).sum(axis=2, dtype=np.uint64)
        mixed = (mixed ^ mixed >> np.uint64(29)) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(33)
        return np.asarray(mixed % np.uint64(_SLOTS * self.kept), dtype=np.int64)
