"""The job from posts to sentiment: link, score each text once, store; what is done stays done whenever it is stopped.

When a score counts as known, the law of this file:

- in a backfill (the default) at the post's own ``known_ns`` plus a declared scoring delay, since a live run would have
  scored it on arrival; the fact's quality is then at best ``assumed_lag``;
- live at the clock's time when it was ready; the fact's quality is the post's.

A post's later revision is scored only when its text has changed, and becomes a revision of the sentiment, known after
the edit. A post without a coin, and a spam-like one, gets no row and is remembered as done. A text the model gives no
finite answer for gets no row either, is counted, and is tried again by the next run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data.errors import InputError
from data.facts import MARKET_WIDE, fact_table
from data.store import Appended, Store
from data.times import SECOND_NS
from signals.entities import Linker
from signals.models import ModelCard, fingerprint, resolve
from signals.score_cache import Row, ScoreCache
from signals.score_report import ScoreOptions, ScoreProgress, ScoreReport
from signals.scored_pairs import StoredPairs, hashes
from signals.scorer import Probabilities, Scorer, gather, open_scorer
from signals.text import normalise, text_key

CHUNK_POSTS: Final = 20_000
"""Posts that are stored together."""

WINDOW_POSTS: Final = 100_000
"""Posts read together; bounds the memory."""

_IDENTITY: Final = ("source", "key", "revision", "known_ns")
_FACT: Final = (
    *("source", "key", "coin", "event_ns", "known_ns", "quality"),
    *("p_bearish", "p_neutral", "p_bullish", "score", "followers", "author", "cluster", "flags"),
)
_CONTENT: Final = (*_IDENTITY, "event_ns", "quality", "text", "author", "followers")


@dataclass
class _Post:
    """One post under way: what is stored of it, and the text it waits for."""

    id: int
    known_ns: int
    fields: dict[str, Any]
    coins: tuple[str, ...]
    text: bytes


@dataclass
class _Chunk:
    """Posts that will be stored together, the scores there are so far, and the outcome of posts that need none."""

    posts: list[_Post] = field(default_factory=list)
    settled: dict[int, str] = field(default_factory=dict)
    scores: dict[bytes, Row | None] = field(default_factory=dict)


def score_posts(
    store: Store,
    model: ModelCard | str,
    device: str,
    batch_tokens: int,
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
    device, batch_tokens
        See `signals.scorer.open_scorer`.
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
    with ScoreCache(store.var, fingerprint(card, chosen.dtype)) as cache:
        scorer = chosen.scorer or _Late(card, device, batch_tokens, chosen.dtype)
        return _Job(store, card, cache, scorer, now_ns, progress, chosen).run()


class _Late:
    """A scorer that is opened by the first text."""

    def __init__(self, card: ModelCard, device: str, batch_tokens: int, dtype: str) -> None:
        self.card = card
        self.device = device
        self.dtype = dtype
        self._batch_tokens = batch_tokens
        self._opened: Scorer | None = None

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], Probabilities]]:
        """See `signals.scorer.Scorer`."""
        if self._opened is None:
            self._opened = open_scorer(self.card, self.device, self._batch_tokens, self.dtype)
            self.device = self._opened.device
        return self._opened.batches(texts)

    def score(self, texts: Sequence[str]) -> Probabilities:
        """See `signals.scorer.Scorer`."""
        return gather(self.batches(texts), len(texts))


class _Job:
    def __init__(
        self,
        store: Store,
        card: ModelCard,
        cache: ScoreCache,
        scorer: Scorer,
        now_ns: Callable[[], int],
        progress: Callable[[ScoreProgress], None] | None,
        options: ScoreOptions,
    ) -> None:
        self.store = store
        self.card = card
        self.cache = cache
        self.scorer = scorer
        self.now_ns = now_ns
        self.progress = progress
        self.options = options
        self.linker = options.linker or Linker()
        self.salt = self.linker.identity.encode() + (b"spam" if options.keep_spam else b"")
        self.report = ScoreReport(card.name, card.pinned, card.notice)
        self.stored = StoredPairs(store, card)
        self.chunk = _Chunk()
        self.begun_ns = now_ns()
        self.ready = 0
        self.total = 0

    def run(self) -> ScoreReport:
        """The whole job; returns early, with everything stored that was ready, on Ctrl-C."""
        try:
            pending = self._pending()
            for rows in self._chunks(pending):
                self._open(rows)
                self._score()
                self._store()
        except KeyboardInterrupt:
            self.report.interrupted = True
            self._store()
        self.report.elapsed_s = (self.now_ns() - self.begun_ns) / SECOND_NS
        return self.report

    def _pending(self) -> pa.Table:
        """Identity of the posts to do, in total order, with their ids in a column of their own."""
        where = {"source": self.options.sources}
        rows = self.store.table("posts", where, self.options.since_ns, self.options.until_ns, _IDENTITY)
        ids = self._ids(rows)
        done, linked = self.cache.posts()
        at = np.searchsorted(done, ids)
        at[at == len(done)] = 0
        seen = done[at] == ids if len(done) else np.zeros(len(ids), dtype=bool)
        if seen.any():
            # A post with rows counts as done only while they are there: somebody may have removed the facts.
            posts = hashes(b"", rows["source"].to_pylist(), rows["key"].to_pylist())
            seen &= ~linked[at] | self.stored.has_posts(posts)
        self.report.posts = rows.num_rows
        self.report.already = int(seen.sum())
        pending = rows.append_column("id", pa.array(ids)).filter(pa.array(~seen))
        self.total = pending.num_rows
        return pending

    def _ids(self, rows: pa.Table) -> NDArray[np.int64]:
        columns = [rows[name].to_pylist() for name in ("source", "key", "revision")]
        return hashes(self.salt, *columns)

    def _chunks(self, pending: pa.Table) -> Iterator[pa.Table]:
        """Content of the pending posts, at most `CHUNK_POSTS` at once, oldest first."""
        known = pending["known_ns"].to_numpy()
        ids = np.sort(pending["id"].to_numpy())
        start = 0
        while start < len(known):
            last = known[min(start + WINDOW_POSTS, len(known)) - 1]
            where = {"source": self.options.sources}
            rows = self.store.table("posts", where, int(known[start]), int(last) + 1, _CONTENT)
            found = self._ids(rows)
            at = np.minimum(np.searchsorted(ids, found), len(ids) - 1)
            rows = rows.append_column("id", pa.array(found)).filter(pa.array(ids[at] == found))
            for first in range(0, rows.num_rows, CHUNK_POSTS):
                yield rows.slice(first, CHUNK_POSTS)
            start = int(np.searchsorted(known, last, side="right"))

    def _open(self, rows: pa.Table) -> None:
        """Link the posts of a chunk; what needs no score is settled at once."""
        self.chunk = _Chunk()
        unchanged = self._unchanged(rows)
        for post in rows.to_pylist():
            if post["id"] in unchanged:
                self._settle(post["id"], "unchanged")
                continue
            text = normalise(post["text"])
            links = self.linker.link_normal(text)
            coins = (*links.coins, MARKET_WIDE) if links.market else links.coins
            if links.spam and not self.options.keep_spam:
                self._settle(post["id"], "spam")
            elif not coins:
                self._settle(post["id"], "unlinked")
            else:
                missing = self.stored.missing(post["source"], post["key"], coins, post["known_ns"])
                if missing:
                    self.chunk.posts.append(
                        _Post(post["id"], post["known_ns"], {**post, "text": text}, missing, text_key(text))
                    )
                else:
                    self._settle(post["id"], "linked")
        self._tell()

    def _settle(self, post: int, outcome: str) -> None:
        self.chunk.settled[post] = outcome
        self.ready += 1

    def _unchanged(self, rows: pa.Table) -> set[int]:
        """Ids of the revisions whose text is that of the revision before them."""
        later = rows.filter(pc.greater(rows["revision"], 0))
        if later.num_rows == 0:
            return set()
        keys = pc.unique(later["key"]).to_pylist()
        past = self.store.table("posts", {"key": keys}, columns=("source", "key", "revision", "text")).to_pylist()
        texts = {(row["source"], row["key"], row["revision"]): normalise(row["text"]) for row in past}
        found = set()
        for row in later.to_pylist():
            here = (row["source"], row["key"])
            if texts.get((*here, row["revision"] - 1)) == texts[(*here, row["revision"])]:
                found.add(row["id"])
        return found

    def _score(self) -> None:
        """Scores of the chunk's different texts: from the cache, else from the model, batch by batch."""
        waiting: dict[bytes, int] = {}
        texts: dict[bytes, str] = {}
        for post in self.chunk.posts:
            waiting[post.text] = waiting.get(post.text, 0) + 1
            texts.setdefault(post.text, post.fields["text"])
        cached = self.cache.scores(list(texts))
        self.chunk.scores.update(cached)
        self.report.texts_cached += len(cached)
        self.ready += sum(waiting[key] for key in cached)
        self._tell()
        keys = [key for key in texts if key not in cached]
        if not keys:
            return
        for positions, rows in self.scorer.batches([texts[key] for key in keys]):
            self.report.device = self.scorer.device
            self._take([keys[at] for at in positions], rows)
            self.ready += sum(waiting[keys[at]] for at in positions)
            self._tell()

    def _take(self, keys: list[bytes], rows: NDArray[np.float32]) -> None:
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
        for post in chunk.posts:
            row = chunk.scores.get(post.text)
            if row is None:
                failed += post.text in chunk.scores  # else the run was stopped before this one
                continue
            outcomes[post.id] = "linked"
            for coin in post.coins:
                for name, value in zip(_FACT, self._fact(post, coin, row, now), strict=True):
                    columns[name].append(value)
        added = Appended()
        if columns["key"]:
            constants = {"model": self.card.name, "model_revision": self.card.pinned, "ingested_ns": now}
            added = self.store.append("sentiment", fact_table("sentiment", {**columns, **constants}))
        self.cache.keep_posts({post: outcome == "linked" for post, outcome in outcomes.items()})
        self.chunk = _Chunk()
        report = self.report
        report.rows_added += added.added
        report.rows_revised += added.revised
        report.failed += failed
        for outcome, count in Counter(outcomes.values()).items():
            setattr(report, outcome, getattr(report, outcome) + count)

    def _fact(self, post: _Post, coin: str, row: Row, now: int) -> tuple[Any, ...]:
        fields = post.fields
        if self.options.live:
            known, quality = max(now, post.known_ns), fields["quality"]
        else:
            known = post.known_ns + self.options.delay_ns
            quality = "revised" if fields["quality"] == "revised" else "assumed_lag"
        source, key, event, author, followers = (
            fields[name] for name in ("source", "key", "event_ns", "author", "followers")
        )
        down, even, up = row
        return source, key, coin, event, known, quality, down, even, up, up - down, followers, author, 0, 0

    def _tell(self) -> None:
        if self.progress is None:
            return
        elapsed = (self.now_ns() - self.begun_ns) / SECOND_NS
        rate = self.ready / elapsed if elapsed > 0 else 0.0
        left = (self.total - self.ready) / rate if rate > 0 else None
        self.progress(ScoreProgress(self.ready, self.total, rate, left))
