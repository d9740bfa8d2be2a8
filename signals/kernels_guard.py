"""Controls 21 and 22 in kernels: is this post one voice of a crowd, or one of many masks of a few?

Every post is judged at its arrival, in order of `known_ns`, by what had arrived by then; state is of a fixed size
however many posts there are. One post a call: history is a loop over the same step.

State of a coin lies from slot `at` on in `slab` and in `ticks`, the same memory read as int64; all coins share the two
tables of `signals.kernels_tables`.
"""

import math

from signals.bare import inner, kernel
from signals.kernels import Floats, Ints, finite
from signals.kernels_posts import M_SUM, M_TIME, M_WEIGHT, advance, faded, keep_past, take_back
from signals.kernels_tables import is_stranger, repetition
from signals.ops import AUTHOR, DUPLICATES, FINE, GAP, JUMP, SOURCE, STRANGERS, TEMPLATE, TRICKS

MINUTE = 60 * 10**9
HOUR, DAY = 60 * MINUTE, 24 * 60 * MINUTE
WINDOW = HOUR  # what is judged together
BUCKET = 5 * MINUTE
BUCKETS = WINDOW // BUCKET
RING = 128  # the newest posts of the window whose shares are taken
SOURCES = 8
WARM = DAY  # a coin's usual volume is known from then on
STRANGERS_WARM = 7 * DAY  # and who its usual authors are
VOLUME_MEMORY = 1.0 / 2016.0  # a week of buckets
SHARE_MEMORY = 1.0 / 500.0  # of buckets with posts
CLEAN_START = 48.0  # buckets without repetitions and tricks that a new coin is taken to have had
HALF_LIFE = 6.0 * HOUR  # of the mood that control 22 looks at: the default of `Mood`, and so is its prior
PRIOR = 1.0
CLEAR = 0.05  # a score nearer to 0 than this takes no side

TRICK_BITS = 1 | 2 | 8  # of `data.facts.FLAGS`
MARK_DUPLICATE, MARK_TRICK, MARK_STRANGER = 1, 2, 4  # the same as a ring of posts keeps it

# Parameters: posts and deviations from which on shares are looked at, share, pause in ns, jump.
P_POSTS, P_Z, P_SHARE, P_PAUSE, P_JUMP = range(5)

# Slots of a coin. First the mood and how many posts it has counted, twice remembered (`keep_past`), then the rest.
MOOD_WIDTH = 4
G_COUNTED = 3
G_REST = 3 * MOOD_WIDTH + 1
(
    G_FROZEN, G_DOUBT, G_DOUBT_SIGN, G_FIRST, G_BUCKET, G_ROLLS, G_FULL, G_MEAN, G_SQUARE, G_SEEN,
    G_USUAL_DUPLICATE, G_USUAL_TRICK, G_USUAL_STRANGER,
) = range(G_REST, G_REST + 13)  # fmt: skip
G_COUNTS = G_REST + 13  # of the last hour by bucket: posts, repetitions, tricks, strangers
C_POSTS, C_DUPLICATES, C_TRICKS, C_STRANGERS = range(4)
G_SOURCES = G_COUNTS + 4 * BUCKETS
S_ID, S_NEWEST, S_USUAL, S_BUCKET, S_UP, S_DOWN = 0, 1, 2, 3, 4, 7  # up and down: when, cluster, author
SOURCE_SLOTS = 10
G_RING = G_SOURCES + SOURCES * SOURCE_SLOTS
R_NS, R_SOURCE, R_AUTHOR, R_CLUSTER, R_MARKS = range(5)
POST_SLOTS = 5
COIN_SLOTS = G_RING + RING * POST_SLOTS


# --- what is usual ----------------------------------------------------------------------------------------------------


@inner
def hourly(slab: Floats, at: int, what: int) -> float:
    """Posts of the last hour, or those of one kind, in whole buckets."""
    total = 0.0
    for b in range(BUCKETS):
        total += slab[at + G_COUNTS + what * BUCKETS + b]
    return total


@inner
def spread(slab: Floats, at: int) -> float:
    """Deviation of the posts an hour, taken to be at least a Poisson law's and at least one."""
    mean = slab[at + G_MEAN]
    return math.sqrt(max(slab[at + G_SQUARE] - mean * mean, mean, 1.0))


@inner
def learn_volume(par: Floats, slab: Floats, ticks: Ints, at: int, now_ns: int) -> None:
    """Take the hour that ends now into what is usual; of a burst no more than what would still be no burst."""
    count = hourly(slab, at, C_POSTS)
    if now_ns - ticks[at + G_FIRST] >= WARM:
        count = min(count, slab[at + G_MEAN] + par[P_Z] * spread(slab, at))
    a = max(VOLUME_MEMORY, 1.0 / (ticks[at + G_ROLLS] + 1.0))
    slab[at + G_MEAN] += a * (count - slab[at + G_MEAN])
    slab[at + G_SQUARE] += a * (count * count - slab[at + G_SQUARE])
    ticks[at + G_ROLLS] += 1


@inner
def learn_silence(slab: Floats, ticks: Ints, at: int, buckets: int) -> None:
    """So many hours without a post, a bucket apart, at once."""
    known = ticks[at + G_ROLLS]
    early = min(buckets, max(int(1.0 / VOLUME_MEMORY) - 1 - known, 0))
    left = known / (known + early) if early > 0 else 1.0
    left *= (1.0 - VOLUME_MEMORY) ** float(buckets - early)
    slab[at + G_MEAN] *= left
    slab[at + G_SQUARE] *= left
    ticks[at + G_ROLLS] = known + buckets


@inner
def learn_shares(slab: Floats, ticks: Ints, at: int, bucket: int) -> None:
    """Take a bucket that is over into the usual shares: each bucket is one vote, however many posts it had."""
    seen = at + G_COUNTS + bucket % BUCKETS
    posts = slab[seen]
    if posts == 0.0:
        return
    ticks[at + G_FULL] += 1
    a = max(SHARE_MEMORY, 1.0 / ticks[at + G_FULL])
    slow = max(SHARE_MEMORY, 1.0 / (ticks[at + G_FULL] + CLEAN_START))
    for i in range(3):
        usual = at + G_USUAL_DUPLICATE + i
        share = slab[seen + (1 + i) * BUCKETS] / posts
        slab[usual] += (a if usual == at + G_USUAL_STRANGER else slow) * (share - slab[usual])
    for s in range(SOURCES):
        place = at + G_SOURCES + s * SOURCE_SLOTS
        slab[place + S_USUAL] += a * (slab[place + S_BUCKET] / posts - slab[place + S_USUAL])
        slab[place + S_BUCKET] = 0.0


@inner
def roll(par: Floats, slab: Floats, ticks: Ints, at: int, now_ns: int) -> None:
    """Go on to the bucket that now lies in, learning those that are over."""
    bucket = now_ns // BUCKET
    if ticks[at + G_BUCKET] == 0:
        ticks[at + G_BUCKET] = bucket
        ticks[at + G_FIRST] = now_ns
    gap = bucket - ticks[at + G_BUCKET]
    if gap <= 0:
        return
    learn_shares(slab, ticks, at, ticks[at + G_BUCKET])
    for b in range(ticks[at + G_BUCKET] + 1, ticks[at + G_BUCKET] + min(gap, BUCKETS) + 1):
        learn_volume(par, slab, ticks, at, b * BUCKET)
        for what in range(4):
            slab[at + G_COUNTS + what * BUCKETS + b % BUCKETS] = 0.0
    if gap > BUCKETS:
        learn_silence(slab, ticks, at, gap - BUCKETS)
    ticks[at + G_BUCKET] = bucket


# --- who says it ------------------------------------------------------------------------------------------------------


@inner
def source_place(slab: Floats, ticks: Ints, at: int, source: int, now_ns: int) -> int:
    """Slots of a source; a ninth one takes the place of the source that was silent for longest."""
    chosen, found = at + G_SOURCES, False
    for s in range(SOURCES):
        place = at + G_SOURCES + s * SOURCE_SLOTS
        if ticks[place + S_NEWEST] != 0 and ticks[place + S_ID] == source:
            chosen, found = place, True
            break
        if ticks[place + S_NEWEST] < ticks[chosen + S_NEWEST]:
            chosen = place
    if not found:
        for i in range(SOURCE_SLOTS):
            ticks[chosen + i] = 0
        ticks[chosen + S_ID] = source
    ticks[chosen + S_NEWEST] = now_ns
    return chosen


@inner
def differs(one: int, other: int) -> bool:
    """Whether two ids are of two; what isn't known isn't known to be the same."""
    return one == 0 or other == 0 or one != other


@inner
def has_witness(ticks: Ints, at: int, mine: int, side: int, cluster: int, author: int, now_ns: int) -> bool:
    """Whether another source said the same within the window: in another text, by another author."""
    for s in range(SOURCES):
        place = at + G_SOURCES + s * SOURCE_SLOTS
        told = place + side
        if place != mine and ticks[told] != 0 and now_ns - ticks[told] <= WINDOW:
            if differs(ticks[told + 1], cluster) and differs(ticks[told + 2], author):
                return True
    return False


@inner
def several_sources(ticks: Ints, at: int) -> bool:
    """Whether more than one source ever wrote about the coin."""
    seen = 0
    for s in range(SOURCES):
        if ticks[at + G_SOURCES + s * SOURCE_SLOTS + S_NEWEST] != 0:
            seen += 1
    return seen > 1


# --- control 21 -------------------------------------------------------------------------------------------------------


@inner
def enter(
    slab: Floats, ticks: Ints, at: int, place: int, now_ns: int, source: int, author: int, cluster: int, marks: int
) -> None:
    """Count a post in its bucket and keep it in the ring."""
    here = at + G_COUNTS + ticks[at + G_BUCKET] % BUCKETS
    slab[here] += 1.0
    slab[place + S_BUCKET] += 1.0
    for i in range(3):
        if marks & (1 << i) != 0:
            slab[here + (1 + i) * BUCKETS] += 1.0
    post = at + G_RING + ticks[at + G_SEEN] % RING * POST_SLOTS
    ticks[post + R_NS], ticks[post + R_SOURCE], ticks[post + R_AUTHOR] = now_ns, source, author
    ticks[post + R_CLUSTER], ticks[post + R_MARKS] = cluster, marks
    ticks[at + G_SEEN] += 1


@inner
def coordinated(par: Floats, slab: Floats, ticks: Ints, at: int, place: int, now_ns: int) -> tuple[float, int]:
    """(share, why) of the strongest sign of coordination; (0, FINE) while posts are few."""
    count = hourly(slab, at, C_POSTS)
    if count < par[P_POSTS]:
        return 0.0, FINE
    duplicates, tricks = hourly(slab, at, C_DUPLICATES) / count, hourly(slab, at, C_TRICKS) / count
    share, why = stronger(0.0, FINE, duplicates - slab[at + G_USUAL_DUPLICATE], DUPLICATES)
    share, why = stronger(share, why, tricks - slab[at + G_USUAL_TRICK], TRICKS)
    if now_ns - ticks[at + G_FIRST] < WARM or count - slab[at + G_MEAN] < par[P_Z] * spread(slab, at):
        return share, why
    other, other_why = in_burst(slab, ticks, at, place, now_ns)
    return stronger(share, why, other, other_why)


@inner
def in_burst(slab: Floats, ticks: Ints, at: int, place: int, now_ns: int) -> tuple[float, int]:
    """The same of the newest posts: at once, and also by what they have in common with the very newest."""
    newest = at + G_RING + (ticks[at + G_SEEN] - 1) % RING * POST_SLOTS
    n = duplicates = tricks = strangers = template = author = source = 0.0
    for back in range(min(ticks[at + G_SEEN], RING)):
        post = at + G_RING + (ticks[at + G_SEEN] - 1 - back) % RING * POST_SLOTS
        if now_ns - ticks[post + R_NS] > WINDOW:
            break
        n += 1.0
        marks = ticks[post + R_MARKS]
        duplicates += 1.0 if marks & MARK_DUPLICATE != 0 else 0.0
        tricks += 1.0 if marks & MARK_TRICK != 0 else 0.0
        strangers += 1.0 if marks & MARK_STRANGER != 0 else 0.0
        template += 1.0 if ticks[post + R_CLUSTER] == ticks[newest + R_CLUSTER] else 0.0
        author += 1.0 if ticks[post + R_AUTHOR] == ticks[newest + R_AUTHOR] else 0.0
        source += 1.0 if ticks[post + R_SOURCE] == ticks[newest + R_SOURCE] else 0.0
    share, why = stronger(0.0, FINE, duplicates / n - slab[at + G_USUAL_DUPLICATE], DUPLICATES)
    share, why = stronger(share, why, tricks / n - slab[at + G_USUAL_TRICK], TRICKS)
    if ticks[newest + R_CLUSTER] != 0:
        share, why = stronger(share, why, template / n, TEMPLATE)
    if ticks[newest + R_AUTHOR] != 0:
        share, why = stronger(share, why, author / n, AUTHOR)
    if now_ns - ticks[at + G_FIRST] >= STRANGERS_WARM:
        share, why = stronger(share, why, strangers / n - slab[at + G_USUAL_STRANGER], STRANGERS)
    if several_sources(ticks, at):
        share, why = stronger(share, why, source / n - slab[place + S_USUAL], SOURCE)
    return share, why


@inner
def stronger(share: float, why: int, other: float, other_why: int) -> tuple[float, int]:
    """The larger share, with its reason."""
    return (other, other_why) if other > share else (share, why)


# --- control 22 -------------------------------------------------------------------------------------------------------


@inner
def mood_at(slab: Floats, ticks: Ints, at: int, now_ns: int, score: float, weight: float) -> float:
    """The mood from slot `at` on with one more post of a weight."""
    left = faded(now_ns - ticks[at + M_TIME], HALF_LIFE) if slab[at + M_WEIGHT] > 0.0 else 0.0
    value: float = (slab[at + M_SUM] * left + weight * score) / (slab[at + M_WEIGHT] * left + weight + PRIOR)
    return value


@inner
def most_of(slab: Floats, ticks: Ints, at: int, now_ns: int, score: float, bound: float) -> float:
    """The weight with which a post of a score takes the mood to a bound and no further; 0 when it is there already."""
    left = faded(now_ns - ticks[at + M_TIME], HALF_LIFE) if slab[at + M_WEIGHT] > 0.0 else 0.0
    missing: float = bound * (slab[at + M_WEIGHT] * left + PRIOR) - slab[at + M_SUM] * left
    return max(missing / (score - bound), 0.0)


@inner
def doubtful(
    par: Floats, slab: Floats, ticks: Ints, at: int, place: int,
    event_ns: int, now_ns: int, score: float, weight: float, author: int, cluster: int,
) -> tuple[float, float]:  # fmt: skip
    """(share, jump): what counts of a post that takes the mood too far for one source alone; (1, 0) of any other."""
    if abs(score) < CLEAR:
        return 1.0, 0.0
    side = S_UP if score > 0.0 else S_DOWN
    sign = 1.0 if score > 0.0 else -1.0
    before = mood_at(slab, ticks, at + 2 * MOOD_WIDTH, now_ns, 0.0, 0.0)
    mine = weight * faded(now_ns - event_ns, HALF_LIFE)
    jump = sign * (mood_at(slab, ticks, at, now_ns, score, mine) - before)
    witness = has_witness(ticks, at, place, side, cluster, author, now_ns)
    ticks[place + side], ticks[place + side + 1], ticks[place + side + 2] = now_ns, cluster, author
    if witness and ticks[at + G_DOUBT_SIGN] == side:
        ticks[at + G_DOUBT] = 0
    if witness or not jump > par[P_JUMP]:
        return 1.0, 0.0
    ticks[at + G_DOUBT] = now_ns + WINDOW
    ticks[at + G_DOUBT_SIGN] = side
    most = most_of(slab, ticks, at, now_ns, score, before + sign * par[P_JUMP])
    return min(most / mine, 1.0) if mine > 0.0 else 0.0, jump


@inner
def learn(slab: Floats, ticks: Ints, at: int, event_ns: int, score: float, weight: float) -> None:
    """Take a post into the mood that control 22 looks at."""
    ahead = advance(slab, ticks, at, event_ns)
    old, new = faded(ahead, HALF_LIFE), faded(-ahead, HALF_LIFE)
    slab[at + M_WEIGHT] = slab[at + M_WEIGHT] * old + weight * new
    slab[at + M_SUM] = slab[at + M_SUM] * old + weight * new * score
    ticks[at + G_COUNTED] += 1


# --- one post ---------------------------------------------------------------------------------------------------------


@kernel
def judge_post(
    par: Floats, slab: Floats, ticks: Ints, authors: Ints, clusters: Ints,
    coin: int, event_ns: int, known_ns: int, score: float, weight: float,
    author: int, source: int, cluster: int, flags: int, revision: int, trusted: int,
) -> tuple[float, int, int, int, float]:  # fmt: skip
    """Judge a post about a coin (-1: the market) and remember it.

    Returns (share, until, back, why, observed): the share of its weight that counts, 1 / k for the k-th of its
    near-duplicates, less where one source alone says it, 0 in a flood; until when the coin's mood isn't to be trusted,
    0 for now; how many posts of the last hour or two are to be taken back, since a flood was found out just now; and
    what it was found out by. A row that tells of missing posts (`signals.ops.GAP`) comes back as (-1, until, ...).
    """
    if flags & GAP != 0:
        return -1.0, cluster, 0, FINE, 0.0
    if revision != 0 or trusted == 0 or not finite(score) or not weight > 0.0:
        return 0.0, 0, 0, FINE, 0.0
    again = repetition(clusters, coin, cluster, known_ns)
    if not finite(par[P_POSTS]):
        return 1.0 / again, 0, 0, FINE, 0.0
    at = (coin + 1) * COIN_SLOTS
    marks = (MARK_DUPLICATE if again > 1 else 0) | (MARK_TRICK if flags & TRICK_BITS != 0 else 0)
    marks |= MARK_STRANGER if is_stranger(authors, author, flags, known_ns) else 0
    roll(par, slab, ticks, at, known_ns)
    keep_past(ticks, at, MOOD_WIDTH, known_ns)
    place = source_place(slab, ticks, at, source, known_ns)
    enter(slab, ticks, at, place, known_ns, source, author, cluster, marks)
    share, back = 1.0 / again, 0
    observed, why = coordinated(par, slab, ticks, at, place, known_ns)
    if observed >= par[P_SHARE]:
        if known_ns >= ticks[at + G_FROZEN]:
            back = ticks[at + G_COUNTED] - ticks[at + 2 * MOOD_WIDTH + G_COUNTED]
            take_back(ticks, at, MOOD_WIDTH)
        ticks[at + G_FROZEN] = known_ns + int(par[P_PAUSE])
    else:
        observed, why = 0.0, FINE
    if known_ns < ticks[at + G_FROZEN]:
        share = 0.0
    else:
        weight *= share
        part, jump = doubtful(par, slab, ticks, at, place, event_ns, known_ns, score, weight, author, cluster)
        if jump > 0.0:
            share, observed, why = share * part, jump, JUMP
        learn(slab, ticks, at, event_ns, score, weight * part)
    return share, max(ticks[at + G_FROZEN], ticks[at + G_DOUBT]), back, why, observed


@kernel
def judge_posts(
    par: Floats, slab: Floats, ticks: Ints, authors: Ints, clusters: Ints,
    coin: Ints, event_ns: Ints, known_ns: Ints, score: Floats, weight: Floats,
    author: Ints, source: Ints, cluster: Ints, flags: Ints, revision: Ints, trusted: Ints,
    share: Floats, until_ns: Ints, back: Ints, why: Ints, observed: Floats,
) -> None:  # fmt: skip
    """All posts of a tape; the last five are written."""
    for f in range(len(coin)):
        share[f], until_ns[f], back[f], why[f], observed[f] = judge_post(
            par, slab, ticks, authors, clusters,
            coin[f], event_ns[f], known_ns[f], score[f], weight[f],
            author[f], source[f], cluster[f], flags[f], revision[f], trusted[f],
        )  # fmt: skip
