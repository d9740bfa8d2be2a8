"""Scores posts as they arrive: micro-batches within a latency budget, a bounded queue, delays measured.

A watcher thread looks for posts that are new in the store and puts them into the queue, oldest first; when the queue is
full it waits, so that what can't be scored yet stays in the store, and is counted. A micro-batch closes when half of
the latency budget has gone by since its first post was seen, or when it holds as many posts as were lately scored in
the other half. A score counts as known when it was ready, never before: the delay is part of the fact. Past the budget
nothing is dropped: posts are late, and the report says how late.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from data.errors import InputError
from data.store import Store
from data.times import DAY_NS, SECOND_NS
from signals.models import ModelCard
from signals.score_report import ScoreOptions, ScoreProgress, ScoreReport
from signals.scorer import Compute
from signals.scoring import Job, Late, open_cache
from signals.watch import Watch

QUEUE_POSTS: Final = 4_096
"""Posts that wait at most; the rest stays in the store."""

FIRST_BATCH: Final = 32
"""Posts of a micro-batch until it is known how many are scored in half of the budget."""

CATCH_UP: Final = 1_024
"""Posts of a micro-batch when the budget is lost already: then what counts is how many get done."""

LIVE_NS: Final = DAY_NS
"""Posts that were seen to arrive this long ago at most, and have no score yet, had none: a scorer was gone."""

MAX_DELAY_NS: Final = SECOND_NS // 5
_DELAYS_KEPT: Final = 10_000
_LOOK_S: Final = 0.05  # how long the scorer waits at once, so that Ctrl-C is heard


class Waiting(NamedTuple):
    """A post in the queue, and when the watcher saw it."""

    seen_ns: int
    row: dict[str, Any]


class Inbox:
    """The bounded queue between the watcher's thread and the scorer.

    Parameters
    ----------
    watch : callable
        Gives new posts, or None (`Watch.look`).
    now_ns : callable
        The clock, ns UTC.
    budget_ns : int
        Latency budget from a post's arrival to its score.
    """

    def __init__(self, watch: Callable[[], pa.Table | None], now_ns: Callable[[], int], budget_ns: int) -> None:
        self._watch = watch
        self._unput = 0
        self._now_ns = now_ns
        self._budget_ns = budget_ns
        self._posts: queue.Queue[Waiting] = queue.Queue(QUEUE_POSTS)
        self._error: Exception | None = None
        self._stop = threading.Event()
        self._room = FIRST_BATCH
        self._thread = threading.Thread(target=self._run, name="watch posts", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the watcher; what waits stays unscored, and is found by the next run."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._budget_ns / SECOND_NS / 8):
                found = self._watch()
                seen = self._now_ns()
                rows = [] if found is None else found.to_pylist()
                for at, row in enumerate(rows):
                    self._unput = len(rows) - at
                    self._put(Waiting(seen, row))
                self._unput = 0
        except Exception as error:  # handed to the scorer's thread, which raises it
            self._error = error

    def _put(self, post: Waiting) -> None:
        while not self._stop.is_set():
            try:
                return self._posts.put(post, timeout=_LOOK_S)
            except queue.Full:
                continue

    def batch(self) -> list[Waiting]:
        """The next micro-batch; empty when nothing came for a while.

        Raises
        ------
        Exception
            Whatever the watcher met.
        """
        found: list[Waiting] = []
        wait = _LOOK_S
        room = self._room
        while len(found) < room:
            try:
                found.append(self._posts.get(timeout=wait))
            except queue.Empty:
                break
            left = found[0].seen_ns + self._budget_ns // 2 - self._now_ns()
            if left <= 0 and self._posts.empty():
                break
            if left < -self._budget_ns:
                room = max(self._room, CATCH_UP)
            wait = max(left / SECOND_NS, 1e-6)
        if not found and self._error is not None:
            raise self._error
        return found

    @property
    def waiting(self) -> int:
        """Posts that were looked up and aren't in a batch yet."""
        return self._posts.qsize() + self._unput

    def scored(self, count: int, took_ns: int) -> None:
        """Tell how long a micro-batch took: the next ones hold what fits into half of the budget."""
        fits = count * (self._budget_ns // 2) // max(took_ns, 1)
        # Small batches say little of what a large one would take: at most double.
        self._room = int(min(max(1, fits), 2 * max(self._room, count), QUEUE_POSTS))


def follow_posts(
    store: Store,
    card: ModelCard,
    compute: Compute,
    now_ns: Callable[[], int],
    progress: Callable[[ScoreProgress], None] | None = None,
    options: ScoreOptions | None = None,
    max_delay_ns: int = MAX_DELAY_NS,
    until: Callable[[], bool] = lambda: False,
) -> ScoreReport:
    """Score what is stored, as `signals.scoring.score_posts` does; then each new post as it arrives, until Ctrl-C.

    Parameters
    ----------
    store, card, compute, now_ns, progress, options
        See `signals.scoring.score_posts`. Posts that arrive are scored live; a span can't be chosen.
    max_delay_ns : int
        Latency budget from a post's arrival in the store to its score.
    until : callable, optional
        Asked between micro-batches; True ends it like Ctrl-C.

    Raises
    ------
    InputError
        The model, the device, the cache or the store is not in order, or the budget isn't above 0.
    """
    chosen = options or ScoreOptions()
    if max_delay_ns <= 0:
        raise InputError("must be above 0", key="--max-delay", value=max_delay_ns)
    if chosen.since_ns is not None or chosen.until_ns is not None:
        remedy = "Leave them out, or score the span without --follow"
        raise InputError("a span can't be followed", key="--since, --until", value="", remedy=remedy)
    with open_cache(store, card, compute) as cache:
        chosen = replace(chosen, scorer=chosen.scorer or Late(card, compute), live_ns=LIVE_NS)
        job = Job(store, card, cache, now_ns, progress, chosen)
        watch = Watch(job)
        watch.look()  # what is there by now belongs to the backfill, or to a run before it
        job.waiting = watch.waiting
        job.run()
        if not job.report.interrupted:
            job.options = replace(chosen, live=True)
            inbox = Inbox(watch.look, now_ns, max_delay_ns)
            job.waiting = lambda: watch.waiting() + inbox.waiting
            _serve(job, inbox, until)
    return job.report


def _serve(job: Job, inbox: Inbox, until: Callable[[], bool]) -> None:
    """Score micro-batches until Ctrl-C; then store what is scored."""
    delays: deque[int] = deque(maxlen=_DELAYS_KEPT)
    job.report.followed = True
    inbox.start()
    try:
        while not until():
            batch = inbox.batch()
            if batch:
                begun = job.now_ns()
                job.report.posts += len(batch)
                job.total += len(batch)
                job.take([post.row for post in batch])
                ended = job.now_ns()
                inbox.scored(len(batch), ended - begun)
                delays.extend(ended - post.seen_ns for post in batch)
                job.delays_ns.extend(ended - _arrived(post) for post in batch)
    except KeyboardInterrupt:
        job.stop()
    finally:
        inbox.stop()
    job.report.elapsed_s = (job.now_ns() - job.begun_ns) / SECOND_NS
    if delays:
        spread = np.percentile(np.array(delays) / 1e6, [50, 95, 100])
        job.report.delays_ms = dict(zip(("median", "p95", "most"), map(float, spread), strict=True))


def _arrived(post: Waiting) -> int:
    """When a post could first have been scored: as it was recorded; of what was imported, when it was seen."""
    return int(post.row["known_ns"]) if post.row["quality"] == "recorded" else post.seen_ns
