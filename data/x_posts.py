"""X's posts as facts: what a payload of its API says, whichever of X's names for the same thing it uses.

X has begun to call its tweets posts: `edit_history_tweet_ids` is `edit_history_post_ids` in its newer schema,
`note_tweet` is `note_post`, `tweet_count` is `post_count`. Both are read.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from data.clean import clean_name
from data.errors import InputError
from data.feed import FeedError, Gone, Item, Spoilt, Written
from data.times import MILLISECOND_NS, parse_time
from data.x_rules import is_ours

FIELDS: Final[Mapping[str, Any]] = {
    "tweet_fields": ["author_id", "created_at", "edit_history_tweet_ids", "note_tweet"],
    "expansions": ["author_id"],
    "user_fields": ["username", "public_metrics"],
}
BARE_FIELDS: Final[Mapping[str, Any]] = {
    "tweet_fields": ["created_at", "edit_history_tweet_ids", "note_tweet"],
}
GONE: Final = ("resource-not-found", "not-authorized-for-resource")
"""Problems that mean: deleted; or protected, or its author suspended."""

EPOCH_MS: Final = 1_288_834_974_657
_NUMBER = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True)
class Looked:
    """What a look-up by identity found: the posts that are there, in their newest known version, and those that went.

    Parameters
    ----------
    newer : mapping of str to str
        Posts that were edited: key to the identity of the newest version.
    gone : frozenset of str
        What X says is deleted, protected or suspended; what it doesn't mention isn't among them.
    """

    items: Mapping[str, Item]
    newer: Mapping[str, str]
    gone: frozenset[str]


def read_posts(values: Mapping[str, Any], shown: str) -> list[Item]:
    """Posts of a page of search or look-up.

    Raises
    ------
    FeedError
        The answer as a whole isn't one of X's.
    """
    rows = values.get("data", [])
    meta = values.get("meta")
    if not isinstance(rows, list) or ("data" not in values and "errors" not in values and not isinstance(meta, dict)):
        raise FeedError(f"{shown}: the answer has no list 'data'")
    users = authors_of(values)
    return [read_post(row, users) for row in rows]


def authors_of(values: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Users that came with posts, by their identity."""
    includes = values.get("includes")
    users = includes.get("users") if isinstance(includes, dict) else None
    if not isinstance(users, list):
        return {}
    return {str(user.get("id")): user for user in users if isinstance(user, dict)}


def read_post(row: Any, users: Mapping[str, Mapping[str, Any]]) -> Item:
    """A post, or what is wrong with it.

    The key is the identity of a post's first version: each edit has an identity of its own, and is a revision.
    """
    if not isinstance(row, dict) or not is_number(row.get("id")):
        return _spoilt(row, "a post without an id")
    history = history_of(row)
    note = row.get("note_tweet", row.get("note_post"))
    text = note.get("text") if isinstance(note, dict) else None
    text = text if isinstance(text, str) and text else row.get("text")
    if not isinstance(text, str):
        return _spoilt(row, "a post without text")
    try:
        event_ns = parse_time(row["created_at"])
    except (InputError, LookupError, AttributeError, TypeError):
        return _spoilt(row, "created_at can't be read")
    user = users.get(str(row.get("author_id")), {})
    author = clean_name(user.get("username"))
    metrics = user.get("public_metrics")
    followers = metrics.get("followers_count") if isinstance(metrics, dict) else None
    known = isinstance(followers, int) and not isinstance(followers, bool) and followers >= 0
    return Written(
        key=history[0],
        event_ns=event_ns,
        text=text,
        author=author,
        followers=float(followers) if known else math.nan,  # type: ignore[arg-type]
        url=f"https://x.com/{author or 'i'}/status/{row['id']}",
    )


def read_look_up(values: Mapping[str, Any], asked: list[str], shown: str) -> Looked:
    """The answer to a look-up of identities. Raises FeedError when it isn't one."""
    items = read_posts(values, shown)
    rows = [row for row in values.get("data", []) if isinstance(row, dict) and is_number(row.get("id"))]
    newer = {history_of(row)[0]: history_of(row)[-1] for row in rows if history_of(row)[-1] != row["id"]}
    errors = values.get("errors")
    gone = {_missed(error) for error in errors} if isinstance(errors, list) else set()
    there = {str(row["id"]) for row in rows}
    found = {item.key: item for item in items if isinstance(item, Written)}
    return Looked(found, newer, frozenset((gone & set(asked)) - there))


def read_line(values: Mapping[str, Any]) -> tuple[Item | None, str]:
    """A line of the stream: its post, None where only other people's rules have matched it; and its identity.

    Raises
    ------
    FeedError
        It is a word of X about the stream itself, or nothing that X's documentation knows.
    """
    row = values.get("data")
    if row is None:
        from data.x_door import problem_text

        raise FeedError(f"X ends the stream: {problem_text(values) or 'a line that is no post'}")
    rules = values.get("matching_rules")
    if isinstance(rules, list) and rules:
        tags = [rule.get("tag") for rule in rules if isinstance(rule, dict)]
        if tags and not any(is_ours(tag) for tag in tags):
            return None, ""
    item = read_post(row, authors_of(values))
    return item, str(row["id"]) if isinstance(item, Written) else ""


def history_of(row: Mapping[str, Any]) -> list[str]:
    """Identities of a post's versions, the first one first."""
    for name in ("edit_history_tweet_ids", "edit_history_post_ids"):
        found = row.get(name)
        if isinstance(found, list) and found and all(is_number(entry) for entry in found):
            return sorted((str(entry) for entry in found), key=int)
    return [str(row["id"])]


def is_number(value: Any) -> bool:
    """Whether it is an identity as X writes them: digits in a text."""
    return isinstance(value, str) and _NUMBER.fullmatch(value) is not None


def id_at(instant_ns: int) -> int:
    """The least identity of a post written at an instant: X's identities count the time in their upper bits."""
    return max(instant_ns // MILLISECOND_NS - EPOCH_MS, 0) << 22


def time_of(identity: int) -> int:
    """When a post of an identity was written, ns."""
    return ((identity >> 22) + EPOCH_MS) * MILLISECOND_NS


def gone_items(keys: frozenset[str]) -> list[Item]:
    """Deletions, in a fixed order."""
    return [Gone(key) for key in sorted(keys, key=int)]


def _missed(error: Any) -> str:
    """The identity of a post that is gone for good, by X's words; empty for other problems."""
    if not isinstance(error, dict):
        return ""
    kind, about = str(error.get("type", "")), error.get("resource_type")
    if not kind.endswith(GONE) or about not in ("tweet", "post"):
        return ""
    return str(error.get("resource_id") or error.get("value") or "")


def _spoilt(row: Any, reason: str) -> Spoilt:
    return Spoilt(json.dumps(row, default=str)[:2000], reason)
