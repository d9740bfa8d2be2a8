"""The job from posts to sentiment: link, score each text once, store; what is done stays done whenever it is stopped.

When a score counts as known, the law of this file:

- in a backfill (the default) at the post's own ``known_ns`` plus a declared scoring delay, since a live run would have
  scored it on arrival; the fact's quality is then at best ``assumed_lag``;
- live at the clock's time when it was ready; the fact's quality is the post's.

A post's later revision is scored only when its text has changed, and becomes a revision of the sentiment, known after
the edit. A post without a coin, and a spam-like one, gets no row and is remembered as done. A text the model gives no
finite answer for gets no row either, is counted, and is tried again by the next run. Every row has the near-duplicate
cluster that its post belongs to as known then, and the flags of what its text showed (`data.facts.FLAGS`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data.errors import InputError
from data.facts import fact_table
from data.store import Appended, Store
from data.times import SECOND_NS
from signals.device import settled_dtype
from signals.entities import Linker
from signals.models import ModelCard, fingerprint, resolve
from signals.post_links import Chunk, LinkedPost, PostLinks
from signals.score_cache import Row, ScoreCache
from signals.score_report import ScoreOptions, ScoreProgress, ScoreReport
from signals.scored_pairs import StoredPairs, row_hashes
from signals.scorer import Compute, Probabilities, Scorer, gather, open_scorer
from signals.text import normalise

CHUNK_POSTS: Final = 20_000
"""Posts that are stored together."""

WINDOW_POSTS: Final = 100_000
"""Posts read together; bounds the memory."""

DELAYS_KEPT: Final = 2_048

_IDENTITY: Final = ("source", "key", "revision", "known_ns")
_FACT: Final = (
    *("source", "key", "coin", "event_ns", "known_ns", "quality"),
    *("p_bearish", "p_neutral", "p_bullish", "score", "followers", "author", "cluster", "flags"),
)
CONTENT: Final = (*_IDENTITY, "event_ns", "quality", "text", "author", "followers")
"""Columns of a post that scoring needs."""


def score_posts(
    store: Store,
    model: ModelCard | str,
    compute: Compute,
    now_ns: Callable[[], int],
    progress: Callable[[ScoreProgress], None] | None = None,
    options: ScoreOptions | None = None,
) -> ScoreReport:
    """Score the stored posts that have no score of this model and revision.

    Ctrl-C ends it early: what is scored by then is stored, and the report says ``interrupted``. Killed, it loses at
    most the batch under way.

    Parameters
    ----------
    store : Store
    model : ModelCard or str
        A pinned card, or what `signals.models.resolve` takes.
    compute : Compute
        How the model is to compute.
    now_ns : callable
        The clock, ns UTC: for ``ingested_ns``, for progress, and for ``known_ns`` when live.
    progress : callable, optional
        Called after every batch.
    options : ScoreOptions, optional

    Raises
    ------
    InputError
        The model, the device, the cache or the store is not in order.
    """
    card = resolve(model) if isinstance(model, str) else model
    chosen = options or ScoreOptions()
    if chosen.delay_ns < 0:
        raise InputError("a score can't be known before its post", key="delay", value=chosen.delay_ns)
    with open_cache(store, card, compute) as cache:
        return Job(
            store, card, cache, now_ns, progress, replace(chosen, scorer=chosen.scorer or Late(card, compute))
        ).run()


def open_cache(store: Store, card: ModelCard, compute: Compute) -> ScoreCache:
    """The cache of what a model said when it computed this way."""
    return ScoreCache(store.var, fingerprint(card, settled_dtype(card, compute), compute.engine, compute.long))


class Late:
    """A scorer that is opened by the first text."""

    def __init__(self, card: ModelCard, compute: Compute) -> None:
        self.card = card
        self.device = compute.device
        self.dtype = compute.dtype
        self.note = ""
        self._compute = compute
        self._opened: Scorer | None = None

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], Probabilities]]:
        """See `signals.scorer.Scorer`."""
        if self._opened is None:
            self._opened = open_scorer(self.card, self._compute)
            self.device, self.dtype = self._opened.device, self._opened.dtype
        for batch in self._opened.batches(texts):
            self.note = self._opened.note
            yield batch

    def score(self, texts: Sequence[str]) -> Probabilities:
        """See `signals.scorer.Scorer`."""
        return gather(self.batches(texts), len(texts))


class Job:
    """One run; its steps are for `signals.streaming` as well, which feeds it with posts as they come."""

    def __init__(
        self,
        store: Store,
        card: ModelCard,
        cache: ScoreCache,
        now_ns: Callable[[], int],
        progress: Callable[[ScoreProgress], None] | None,
        options: ScoreOptions,
    ) -> None:
        self.store = store
        self.card = card
        self.cache = cache
        assert options.scorer is not None
        self.scorer = options.scorer
        self.now_ns = now_ns
        self.progress = progress
        self.options = options
        linker = options.linker or Linker()
        self.links = PostLinks(linker, cache, card, options)
        self.salt = linker.identity.encode() + self.links.kept.encode()
        self.report = ScoreReport(card.name, card.pinned, card.notice)
        self.stored = StoredPairs(store, card)
        self.chunk = Chunk()
        self.begun_ns = now_ns()
        self.ready = 0
        self.total = 0
        self.waiting: Callable[[], int] = lambda: 0  # live: posts that are in no batch yet
        self.delays_ns: deque[int] = deque(maxlen=DELAYS_KEPT)  # live: from a post's arrival to its score

    def run(self) -> ScoreReport:
        """The whole job; returns early, with everything stored that was ready, on Ctrl-C."""
        try:
            for rows in self._chunks(self.pending()):
                self.take(rows.to_pylist())
        except KeyboardInterrupt:
            self.stop()
        self.report.elapsed_s = (self.now_ns() - self.begun_ns) / SECOND_NS
        return self.report

    def stop(self) -> None:
        """After Ctrl-C: store what is scored of the posts under way."""
        self.report.interrupted = True
        self._store()

    def take(self, rows: list[dict[str, Any]]) -> None:
        """Link, score and store some posts: the columns `CONTENT` and the id of each, oldest first."""
        self.chunk = self.links.open(rows, self._unchanged(rows), self.stored.missing)
        self.ready += len(self.chunk.settled)
        self._tell(self.ready)
        self._score()
        self._store()

    def pending(self) -> pa.Table:
        """Identity of the posts to do, in total order, with their ids in a column of their own."""
        where = {"source": self.options.sources}
        rows = self.store.table("posts", where, self.options.since_ns, self.options.until_ns, _IDENTITY)
        ids = self.ids(rows)
        done, linked = self.cache.posts()
        at = np.searchsorted(done, ids)
        at[at == len(done)] = 0
        seen = done[at] == ids if len(done) else np.zeros(len(ids), dtype=bool)
        if seen.any():
            # A post with rows counts as done only while they are there: somebody may have removed the facts.
            seen &= ~linked[at] | self.stored.has_posts(row_hashes(b"", rows, ("source", "key")))
        self.report.posts = rows.num_rows
        self.report.already = int(seen.sum())
        pending = rows.append_column("id", pa.array(ids)).filter(pa.array(~seen))
        self.total = pending.num_rows
        return pending

    def ids(self, rows: pa.Table) -> NDArray[np.int64]:
        """Eight bytes for each post and revision, under this linker and these options."""
        return row_hashes(self.salt, rows, ("source", "key", "revision"))

    def _chunks(self, pending: pa.Table) -> Iterator[pa.Table]:
        """Content of the pending posts, at most `CHUNK_POSTS` at once, oldest first."""
        known = pending["known_ns"].to_numpy()
        ids = np.sort(pending["id"].to_numpy())
        start = 0
        while start < len(known):
            last = known[min(start + WINDOW_POSTS, len(known)) - 1]
            where = {"source": self.options.sources}
            rows = self.store.table("posts", where, int(known[start]), int(last) + 1, CONTENT)
            found = self.ids(rows)
            at = np.minimum(np.searchsorted(ids, found), len(ids) - 1)
            rows = rows.append_column("id", pa.array(found)).filter(pa.array(ids[at] == found))
            for first in range(0, rows.num_rows, CHUNK_POSTS):
                yield rows.slice(first, CHUNK_POSTS)
            start = int(np.searchsorted(known, last, side="right"))

    def _unchanged(self, rows: list[dict[str, Any]]) -> set[int]:
        """Ids of the revisions whose text is that of the revision before them."""
        later = [row for row in rows if row["revision"] > 0]
        if not later:
            return set()
        keys = sorted({row["key"] for row in later})
        past = self.store.table("posts", {"key": keys}, columns=("source", "key", "revision", "text")).to_pylist()
        texts = {(row["source"], row["key"], row["revision"]): normalise(row["text"]) for row in past}
        found = set()
        for row in later:
            here = (row["source"], row["key"])
            if texts.get((*here, row["revision"] - 1)) == texts[(*here, row["revision"])]:
                found.add(row["id"])
        return found

    def _score(self) -> None:
        """Scores of the chunk's different texts: from the cache, else from the model, batch by batch."""
        chunk = self.chunk
        cached = self.cache.scores(chunk.keys)
        chunk.scores.update(cached)
        self.report.texts_cached += len(cached)
        before = self.ready
        self._tell(before)
        keys = [key for key in chunk.texts if key not in cached]
        if not keys:
            return
        for positions, rows in self.scorer.batches([chunk.texts[key] for key in keys]):
            self.report.device, self.report.dtype = self.scorer.device, self.scorer.dtype
            self.report.note = self.scorer.note
            self._keep([keys[at] for at in positions], rows)
            self._tell(before)

    def _keep(self, keys: list[bytes], rows: NDArray[np.float32]) -> None:
        """Keep one batch's scores, in the cache too; a row that isn't finite is a missing score."""
        good: dict[bytes, Row] = {}
        for key, row in zip(keys, rows.astype(np.float64), strict=True):
            if np.isfinite(row).all():
                good[key] = (float(row[0]), float(row[1]), float(row[2]))
            else:
                self.chunk.scores[key] = None
        self.cache.keep_scores(good)
        self.chunk.scores.update(good)
        self.report.texts_scored += len(good)

    def _store(self) -> None:
        """Store what is ready of the open chunk and remember its posts as done; doing it twice changes nothing."""
        chunk = self.chunk
        columns: dict[str, list[Any]] = {name: [] for name in _FACT}
        outcomes = dict(chunk.settled)
        failed = 0
        now = self.now_ns()
        for post in chunk.ready():
            for coin, key in post.keys.items():
                row = chunk.scores[key]
                if row is not None:
                    for name, value in zip(_FACT, self._fact(post, coin, row, now), strict=True):
                        columns[name].append(value)
            if None in [chunk.scores[key] for key in post.keys.values()]:
                failed += 1
            else:
                outcomes[post.id] = "linked"
        added = Appended()
        if columns["key"]:
            constants = {"model": self.card.name, "model_revision": self.card.pinned, "ingested_ns": now}
            added = self.store.append("sentiment", fact_table("sentiment", {**columns, **constants}))
        self.cache.keep_clusters(chunk.opened, chunk.heard, self.links.clusters.kept)
        self.cache.keep_posts({post: outcome == "linked" for post, outcome in outcomes.items()})
        self.chunk = Chunk()
        report = self.report
        report.rows_added += added.added
        report.rows_revised += added.revised
        report.failed += failed
        report.near_duplicates += chunk.repeats
        report.scores_borrowed += chunk.borrowed
        for outcome, count in Counter(outcomes.values()).items():
            setattr(report, outcome, getattr(report, outcome) + count)

    def _fact(self, post: LinkedPost, coin: str, row: Row, now: int) -> tuple[Any, ...]:
        fields = post.fields
        seen = fields["quality"] == "recorded" and now - fields["known_ns"] <= self.options.live_ns
        if self.options.live or seen:
            known, quality = max(now, fields["known_ns"]), fields["quality"]
        else:
            known = fields["known_ns"] + self.options.delay_ns
            quality = "revised" if fields["quality"] == "revised" else "assumed_lag"
        source, key, event, author, followers = (
            fields[name] for name in ("source", "key", "event_ns", "author", "followers")
        )
        down, even, up = row
        return (
            source,
            key,
            coin,
            event,
            known,
            quality,
            down,
            even,
            up,
            up - down,
            followers,
            author,
            post.cluster,
            post.flags,
        )

    def _tell(self, before: int) -> None:
        """Say how far the run is; `before` posts were ready before this chunk's texts."""
        self.ready = before + sum(1 for _ in self.chunk.ready())
        if self.progress is None:
            return
        elapsed = (self.now_ns() - self.begun_ns) / SECOND_NS
        rate = self.ready / elapsed if elapsed > 0 else 0.0
        left = (self.total - self.ready) / rate if rate > 0 else None
        self.progress(ScoreProgress(self.ready, self.total, rate, left, self.waiting, self.delays_ns))
