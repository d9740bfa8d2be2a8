"""Whom and what was seen before, in tables of a fixed size: authors, and texts that repeat each other.

A row is (key, number, last seen). A key may stand in one of `PROBES` places; when they are all taken, the one that was
seen longest ago is forgotten.
"""

from signals.bare import inner
from signals.kernels import Ints
from signals.ops import SMALL

DAY = 24 * 3600 * 10**9
CLUSTER_GAP = DAY  # a text counts as a repetition until it wasn't seen for so long
STRANGER = DAY  # an author is a stranger for so long after the first post
AUTHOR_GAP = 30 * DAY  # and again after so long a silence
PROBES = 8
TABLE_PLACES = 1 << 16
TABLE_SLOTS = 3


@inner
def place_of(table: Ints, key: int, now_ns: int, gap_ns: int) -> int:
    """Where a key stands in a table (key, number, last seen); made anew when it is new or was not seen for long."""
    home = ((key ^ (key >> 32)) * -7046029254386353131) >> 20
    chosen, oldest = 0, 0
    for probe in range(PROBES):
        at = ((home + probe) & (TABLE_PLACES - 1)) * TABLE_SLOTS
        if table[at] == key:
            chosen = at
            break
        if probe == 0 or table[at + 2] < oldest:  # a place never used was last seen at 0
            chosen, oldest = at, table[at + 2]
    if table[chosen] != key or now_ns - table[chosen + 2] > gap_ns:
        table[chosen] = key
        table[chosen + 1] = 0
    table[chosen + 2] = now_ns
    return chosen


@inner
def repetition(clusters: Ints, coin: int, cluster: int, now_ns: int) -> int:
    """Which post of its near-duplicates about this coin it is, 1 for the first, as far as is known by now."""
    if cluster == 0:
        return 1
    key = cluster ^ ((coin + 2) * -4658895280553007687)
    at = place_of(clusters, key if key != 0 else 1, now_ns, CLUSTER_GAP)
    clusters[at + 1] += 1
    count: int = clusters[at + 1]
    return count


@inner
def is_stranger(authors: Ints, author: int, flags: int, now_ns: int) -> bool:
    """Whether nobody follows the author and the first post came within a day; an unknown author is always one."""
    if author == 0:
        return flags & SMALL != 0
    at = place_of(authors, author, now_ns, AUTHOR_GAP)
    if authors[at + 1] == 0:
        authors[at + 1] = now_ns
    return flags & SMALL != 0 and now_ns - authors[at + 1] < STRANGER
