"""Posts on their way to a score: what each is about, which text stands for each of its coins, what it all but repeats.

A post has one text for all its coins, or one for each when the model reads masked texts. A near-duplicate isn't scored
again: it takes the score of the first text of its cluster that was scored for the same coin, unless its words of
direction and negation differ (`signals.duplicates.turns`), it is an edit of a post, or the user wants it scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from data.facts import FOREIGN, MARKET_WIDE, SPAM_LIKE
from signals.duplicates import Clusters, First, cluster_id, turns
from signals.entities import Linker
from signals.language import is_english
from signals.mask import masked
from signals.models import ModelCard
from signals.score_cache import Heard, Row, ScoreCache
from signals.score_report import ScoreOptions
from signals.text import normalise, text_key, tricks

Missing = Callable[[str, str, tuple[str, ...], int], tuple[str, ...]]
"""From source, key, coins and the post's own time to the coins that have no score yet."""


@dataclass
class LinkedPost:
    """One post under way: its fields, its text in normal form, its coins, and the text that each of them waits for."""

    id: int
    fields: dict[str, Any]
    text: str
    coins: tuple[str, ...]
    flags: int
    cluster: int = 0
    keys: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Chunk:
    """Posts that will be stored together.

    Attributes
    ----------
    posts : those that wait for scores
    settled : outcome by id of those that need none
    texts : texts in normal form by key, each once
    scores : scores by key so far; None where the model gave no finite answer
    opened, heard : what is new in the memory of near-duplicates
    repeats : posts that all but repeat an earlier one
    borrowed : scores of a coin that were taken from an earlier text
    """

    posts: list[LinkedPost] = field(default_factory=list)
    settled: dict[int, str] = field(default_factory=dict)
    texts: dict[bytes, str] = field(default_factory=dict)
    scores: dict[bytes, Row | None] = field(default_factory=dict)
    opened: list[First] = field(default_factory=list)
    heard: dict[Heard, bytes] = field(default_factory=dict)
    repeats: int = 0
    borrowed: int = 0

    @property
    def keys(self) -> list[bytes]:
        """Keys of all texts whose scores are waited for, each once."""
        return list({key: None for post in self.posts for key in post.keys.values()})

    def ready(self) -> Iterator[LinkedPost]:
        """Posts whose texts have all been scored or found to have no score."""
        return (post for post in self.posts if all(key in self.scores for key in post.keys.values()))


class PostLinks:
    """Opens chunks of posts.

    Parameters
    ----------
    linker : Linker
    cache : ScoreCache
        Remembers near-duplicates from run to run.
    card : ModelCard
        Says whether the model reads masked texts, and whether it reads English only.
    options : ScoreOptions
    """

    def __init__(self, linker: Linker, cache: ScoreCache, card: ModelCard, options: ScoreOptions) -> None:
        self.linker = linker
        self.cache = cache
        self.masks = card.masks
        self.rescore = options.rescore_duplicates
        self.keep_spam = options.keep_spam
        self.keep_foreign = options.keep_foreign or not card.english
        self.clusters = Clusters(cache.firsts())

    @property
    def kept(self) -> str:
        """Which posts are let through beyond the usual ones; another choice finds other posts to do."""
        return ("spam" if self.keep_spam else "") + ("foreign" if self.keep_foreign else "")

    def open(self, rows: Sequence[dict[str, Any]], unchanged: set[int], missing: Missing) -> Chunk:
        """Link posts; what needs no score is settled at once.

        Parameters
        ----------
        rows : posts with their id, oldest first
        unchanged : ids of revisions without new words
        missing : see `Missing`
        """
        chunk = Chunk()
        linked = []
        for row in rows:
            if row["id"] in unchanged:
                chunk.settled[row["id"]] = "unchanged"
                continue
            text = normalise(row["text"])
            links = self.linker.link_normal(text)
            coins = (*links.coins, MARKET_WIDE) if links.market else links.coins
            if links.spam and not self.keep_spam:
                chunk.settled[row["id"]] = "spam"
            elif not coins:
                chunk.settled[row["id"]] = "unlinked"
            elif (foreign := not is_english(text)) and not self.keep_foreign:
                chunk.settled[row["id"]] = "foreign"
            else:
                flags = tricks(row["text"], text) | SPAM_LIKE * links.spam | FOREIGN * foreign
                linked.append(LinkedPost(row["id"], row, text, coins, flags))
        self._group(chunk, linked)
        self._choose_texts(chunk, linked, missing)
        return chunk

    def _group(self, chunk: Chunk, posts: list[LinkedPost]) -> None:
        """Give each post its cluster."""
        times = [post.fields["known_ns"] for post in posts]
        clusters, chunk.opened = self.clusters.place([post.text for post in posts], times)
        for post, cluster in zip(posts, clusters, strict=True):
            post.cluster = cluster
            chunk.repeats += cluster != cluster_id(post.text)

    def _choose_texts(self, chunk: Chunk, posts: list[LinkedPost], missing: Missing) -> None:
        """The text that stands for each coin of each post that has no score yet."""
        heard = self.cache.heard(sorted({post.cluster for post in posts}))
        for post in posts:
            fields = post.fields
            waiting = missing(fields["source"], fields["key"], post.coins, fields["known_ns"])
            if not waiting:
                chunk.settled[post.id] = "linked"
            turn = turns(post.text)
            for coin, text in self._texts(post):
                of, key = (post.cluster, coin, turn), text_key(text)
                earlier = heard.get(of)
                if coin not in waiting:
                    continue
                if earlier is None:
                    heard[of] = chunk.heard[of] = earlier = key
                if self.rescore or fields["revision"]:
                    earlier = key
                chunk.borrowed += earlier != key
                if earlier == key:
                    chunk.texts.setdefault(key, text)
                post.keys[coin] = earlier
            if waiting:
                chunk.posts.append(post)

    def _texts(self, post: LinkedPost) -> list[tuple[str, str]]:
        """The post's text as each of its coins sees it."""
        if not self.masks:
            return [(coin, post.text) for coin in post.coins]
        mentions = self.linker.mentions(post.text)
        return [(coin, masked(post.text, mentions, coin)) for coin in post.coins]
