"""What to follow on X, as rules of its filtered stream and queries of its search; whose rules are ours.

A rule is a list of alternatives in brackets with conditions behind it. Alternatives that don't fit into X's length
make a further rule. Ours carry a tag that begins with `TAG`; rules with other tags belong to somebody else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from data.errors import InputError

TAG: Final = "tidegate:"
RULE_CHARS: Final = 1024
QUERY_CHARS: Final = 512
"""Limits of pay-per-use access, by docs.x.com on 2026-08-22; Enterprise has longer ones."""

_CASHTAG = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,14}")
_ACCOUNT = re.compile(r"@?([A-Za-z0-9_]{1,15})")
_NAME = re.compile(r"[^\"\\\x00-\x1f\x7f]{1,200}")


@dataclass(frozen=True)
class Wish:
    """What to follow.

    Parameters
    ----------
    cashtags : sequence of str
        Tickers without their dollar sign.
    names : sequence of str
        Words and phrases, taken as they are: an operator among them is only text.
    accounts : sequence of str
        User names; what they write is followed in all languages.
    language : str
        Of posts found by cashtags and names, as X classifies them; empty for all.
    retweets : bool
        Reposts as well.
    """

    cashtags: Sequence[str] = ()
    names: Sequence[str] = ()
    accounts: Sequence[str] = ()
    language: str = "en"
    retweets: bool = False

    def rules(self, most: int) -> list[str]:
        """Rules of at most so many characters, together asking for all of it; always the same for the same wish.

        Raises
        ------
        InputError
            There is nothing to follow, or something that can't be put into a rule.
        """
        words = [f"${_checked(_CASHTAG, tag.removeprefix('$'), 'cashtags').upper()}" for tag in self.cashtags]
        words += [f'"{_checked(_NAME, name, "names").strip()}"' for name in self.names]
        accounts = [f"from:{_checked(_ACCOUNT, name, 'accounts').removeprefix('@').lower()}" for name in self.accounts]
        if not words and not accounts:
            remedy = "Name cashtags, names or accounts"
            raise InputError("X isn't told what to follow", key="cashtags", value=(), remedy=remedy)
        also = "" if self.retweets else " -is:retweet"
        spoken = f" lang:{self.language}" if self.language else ""
        return [*_pack(words, spoken + also, most), *_pack(accounts, also, most)]


@dataclass(frozen=True)
class Plan:
    """What has to be done to an account's rules: values with their tags to add, identities to delete."""

    add: tuple[tuple[str, str], ...]
    delete: tuple[str, ...]


def tag_of(value: str) -> str:
    """The tag of one of our rules: it changes with the rule's text."""
    return TAG + hashlib.blake2b(value.encode(), digest_size=6).hexdigest()


def plan_rules(wanted: Iterable[str], present: Iterable[Mapping[str, Any]]) -> Plan:
    """Compare what we want with what the account has.

    Parameters
    ----------
    wanted : iterable of str
        Our rules.
    present : iterable of mapping
        The account's rules as X lists them: `id`, `value`, perhaps `tag`.

    Returns
    -------
    Plan
        Rules of others are never deleted; one of theirs that says the same as ours doesn't stand for ours, since it
        may go any time.
    """
    values = list(dict.fromkeys(wanted))
    ours = {str(rule.get("id")): str(rule.get("tag")) for rule in present if is_ours(rule.get("tag"))}
    tags = {tag_of(value): value for value in values}
    kept: set[str] = set()
    delete = []
    for identity, tag in ours.items():
        if tag in tags and tag not in kept:
            kept.add(tag)
        else:
            delete.append(identity)
    return Plan(tuple((value, tag) for tag, value in tags.items() if tag not in kept), tuple(delete))


def is_ours(tag: Any) -> bool:
    """Whether a rule's tag says that we have made it."""
    return isinstance(tag, str) and tag.startswith(TAG)


def _checked(form: re.Pattern[str], text: str, key: str) -> str:
    if form.fullmatch(text.strip()) is None:
        raise InputError("X's rules can't hold this", key=key, value=text, remedy="Take it out, or write it plainly")
    return text.strip()


def _pack(parts: Sequence[str], conditions: str, most: int) -> list[str]:
    """Alternatives, in their order, in as few rules as their lengths allow."""
    rules: list[str] = []
    group: list[str] = []
    for part in dict.fromkeys(parts):
        if len(_rule([part], conditions)) > most:
            raise InputError(f"longer than one of X's rules ({most} characters)", value=part, remedy="Shorten it")
        if len(_rule([*group, part], conditions)) > most:
            rules.append(_rule(group, conditions))
            group = []
        group.append(part)
    if group:
        rules.append(_rule(group, conditions))
    return rules


def _rule(parts: Sequence[str], conditions: str) -> str:
    return f"({' OR '.join(parts)}){conditions}"
