"""What a scoring run may be told, how far it is, and what it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from data.times import SECOND_NS
from signals.entities import Linker
from signals.scorer import Scorer

SCORE_DELAY_NS: Final = 2 * SECOND_NS
"""Time from a post's arrival to its score that a backfill assumes, unless told otherwise."""


@dataclass(frozen=True)
class ScoreProgress:
    """How far a run is: posts done of all to do, posts a second so far, seconds left (None until that can be said).

    Live, `waiting` counts posts that are in no batch yet, and `delays_ns` are the latest from arrival to score.
    """

    done: int
    total: int
    posts_per_second: float
    left_s: float | None
    waiting: Callable[[], int] = lambda: 0
    delays_ns: Sequence[int] = ()


@dataclass
class ScoreReport:
    """What a run did. Posts count by revision; `done` of this run = `linked` + `unlinked` + `spam` + `foreign` +
    `unchanged`.

    Attributes
    ----------
    posts : int
        Posts in the store, in the span asked for.
    already : int
        Those that were done before this run.
    linked, unlinked, spam, foreign, unchanged : int
        Posts with at least one coin or the market; about neither; spam-like; not in English; revisions whose text is
        the old one.
    failed : int
        Posts the model gave no finite answer for.
    rows_added, rows_revised : int
        Sentiment facts written.
    texts_scored, texts_cached : int
        Different texts that the model scored, and that it had scored before.
    near_duplicates : int
        Posts about something whose text all but repeats an earlier one's.
    scores_borrowed : int
        Scores of a post for a coin that were taken from such an earlier text.
    followed : bool
        Streaming only: it came to the posts that arrive, so that Ctrl-C is its ordinary end.
    delays_ms : dict of str to float
        Streaming only: from a post's arrival to its score, median, 95th percentile and most.
    """

    model: str
    model_revision: str
    notice: str
    device: str = ""
    dtype: str = ""
    note: str = ""
    posts: int = 0
    already: int = 0
    linked: int = 0
    unlinked: int = 0
    spam: int = 0
    foreign: int = 0
    unchanged: int = 0
    failed: int = 0
    rows_added: int = 0
    rows_revised: int = 0
    texts_scored: int = 0
    texts_cached: int = 0
    near_duplicates: int = 0
    scores_borrowed: int = 0
    followed: bool = False
    delays_ms: dict[str, float] = field(default_factory=dict)
    elapsed_s: float = 0.0
    interrupted: bool = False

    @property
    def done(self) -> int:
        """Posts that this run finished."""
        return self.linked + self.unlinked + self.spam + self.foreign + self.unchanged

    @property
    def posts_per_second(self) -> float:
        """Posts this run finished a second."""
        return self.done / self.elapsed_s if self.elapsed_s > 0 else 0.0


@dataclass(frozen=True)
class ScoreOptions:
    """What a run may be told besides the model and where it runs.

    Attributes
    ----------
    live : bool
        Scores are known by the clock instead of `delay_ns` after their posts.
    live_ns : int
        So are those of posts that were seen to arrive this long ago at most: the scores of a scorer that was gone.
    delay_ns : int
        Scoring delay of a backfill.
    keep_spam : bool
        Spam-like posts get rows too.
    keep_foreign : bool
        Posts that aren't in English get rows from a model that reads English only, too; from others they always do.
    since_ns, until_ns : int, optional
        Only posts known in ``[since_ns, until_ns)``.
    sources : sequence of str, optional
        Only posts of these sources.
    rescore_duplicates : bool
        Near-duplicates are scored like any other text, instead of taking the score of the text they repeat.
    linker : Linker, optional
        The built-in table by default.
    scorer : Scorer, optional
        One that is open already. By default it is opened when the first text needs it, so that a run with nothing to do
        never loads a model.
    """

    live: bool = False
    live_ns: int = 0
    delay_ns: int = SCORE_DELAY_NS
    keep_spam: bool = False
    keep_foreign: bool = False
    since_ns: int | None = None
    until_ns: int | None = None
    sources: Sequence[str] | None = None
    rescore_duplicates: bool = False
    linker: Linker | None = None
    scorer: Scorer | None = None
