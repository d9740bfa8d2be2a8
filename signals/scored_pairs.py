"""Which posts have which scores in the store, held small: eight bytes stand for a post, and for a post with a coin."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data.store import Store
from signals.models import ModelCard

_AT_ONCE: Final = 20_000


class StoredPairs:
    """Which (post, coin) pairs have a score of the model in the store, and until when it is known: 24 bytes a pair."""

    def __init__(self, store: Store, card: ModelCard) -> None:
        where = {"model": [card.name], "model_revision": [card.pinned]}
        rows = store.table("sentiment", where, columns=("source", "key", "coin", "known_ns"))
        pairs = row_hashes(b"", rows, ("source", "key", "coin"))
        order = np.lexsort((rows["known_ns"].to_numpy(), pairs))
        last = np.append(np.diff(pairs[order]) != 0, True)[: len(order)]
        self._pairs = pairs[order][last]
        self._known = rows["known_ns"].to_numpy()[order][last]
        self._posts = np.unique(row_hashes(b"", rows, ("source", "key")))

    def has_posts(self, posts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the hashed posts have any score."""
        if not len(self._posts):
            return np.zeros(len(posts), dtype=bool)
        at = np.minimum(np.searchsorted(self._posts, posts), len(self._posts) - 1)
        return np.asarray(self._posts[at] == posts)

    def missing(self, source: str, key: str, coins: tuple[str, ...], known_ns: int) -> tuple[str, ...]:
        """The coins of a post that have no score known at or after the post's own time."""
        if not len(self._pairs):
            return coins
        found = []
        for coin in coins:
            pair = hash_of(b"", (source, key, coin))
            at = int(np.searchsorted(self._pairs, pair))
            if at == len(self._pairs) or self._pairs[at] != pair or self._known[at] < known_ns:
                found.append(coin)
        return tuple(found)


def hash_of(salt: bytes, parts: Sequence[object]) -> int:
    """Eight bytes that stand for a few texts: at a million of them, two share it once in forty million cases."""
    joined = "\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(salt + b"\x1e" + joined, digest_size=8).digest(), "little", signed=True)


def row_hashes(salt: bytes, rows: pa.Table, names: Sequence[str]) -> NDArray[np.int64]:
    """`hash_of` over some columns of each row; a slice at a time: the texts of a million rows never lie in memory."""
    found = np.empty(rows.num_rows, dtype=np.int64)
    for start in range(0, rows.num_rows, _AT_ONCE):
        piece = rows.slice(start, _AT_ONCE)
        columns = [piece[name].to_pylist() for name in names]
        found[start : start + _AT_ONCE] = [hash_of(salt, parts) for parts in zip(*columns, strict=True)]
    return found
