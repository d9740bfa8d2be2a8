"""Posts and scores of posts from a file."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np

from data.errors import InputError
from data.facts import FLAGS, fact_table
from data.options import ImportOptions
from data.quality import distinct
from data.sheet import F8, Batch, Sheet
from data.stamps import I8
from data.times import DAY_NS, format_time

DEFAULT_SOURCE = "file"
EARLY = "known before it happened"
HIDDEN_DAYS = 5
HIDDEN_SHARE = 0.9
FUTURE = "dated after it was brought in"
I8_LEAST, I8_MOST = -(2**63), 2**63 - 1
_WHOLE = re.compile(r"-?\d{1,19}")


def event_times(sheet: Sheet, options: ImportOptions) -> I8:
    """When each row's event happened, by what its stamp is the time of.

    A stamp at the start of an interval counts as the interval's end: what happened on a day is past when the day is.

    Raises
    ------
    InputError
        Bare dates without a declared stamp, a stamp that isn't known, a start without its interval.
    """
    stamps = sheet.times()
    stamp = options.stamp
    if stamp not in (None, "start", "end", "published"):
        raise InputError(
            "unknown stamp", where=sheet.where, key="--stamp", value=stamp, remedy="One of start, end, published"
        )
    if stamp is None and stamps.days:
        raise InputError(
            "the times are bare dates: it could have happened at any time of that day",
            where=sheet.where,
            key=sheet.find("time"),
            remedy="Say --stamp start --interval 1d: then a row counts from the end of its day",
        )
    if stamp is None:
        _refuse_hidden_dates(sheet, stamps.ns[sheet.good()])
    if stamp != "start":
        return stamps.ns
    interval_ns = options.duration("interval", sheet.where)
    if interval_ns is None:
        raise InputError(
            "a stamp at the start of an interval needs the interval",
            where=sheet.where,
            key="--interval",
            remedy="For daily rows say --interval 1d",
        )
    return stamps.ns + interval_ns


def _refuse_hidden_dates(sheet: Sheet, ns: I8) -> None:
    """Raise when nearly all rows bear one time of day, or two (summer time): dates in the dress of times."""
    if len(distinct(ns // DAY_NS)) < HIDDEN_DAYS:
        return
    hours, counts = np.unique(np.sort(ns % DAY_NS), return_counts=True)
    usual = np.argsort(-counts, kind="stable")[:2]
    if counts[usual].sum() < HIDDEN_SHARE * len(ns):
        return
    shown = " or ".join(format_time(int(hour))[11:] for hour in sorted(hours[usual]))
    raise InputError(
        f"{counts[usual].sum()} of {len(ns)} times are {shown}: dates, it seems, and it could have happened at any "
        "time of the day",
        where=sheet.where,
        key=sheet.find("time"),
        remedy="Say --stamp start --interval 1d to count a row from the end of its day, or --stamp published if the "
        "hour is true",
    )


def known_times(sheet: Sheet, options: ImportOptions, event_ns: I8, *, lag_required: bool) -> tuple[I8, str]:
    """When each row could be known, and of which quality that statement is.

    Raises
    ------
    InputError
        No lag where one is needed; a column of known times without ``--quality``.
    """
    where = sheet.where
    lag_ns = options.duration("lag", where)
    if "known" in options.columns:
        if options.quality is None or lag_ns is not None:
            raise InputError(
                "a column of known times needs --quality (recorded or vendor_pit) and no --lag",
                where=where,
                key="--map known",
                value=options.columns["known"],
                remedy="Say --quality recorded if those are the times the rows were seen to arrive",
            )
        known_ns = sheet.times("known").ns
        sheet.blame(known_ns < event_ns, EARLY)
        return known_ns, options.quality_or("recorded", where)
    if lag_ns is None and lag_required:
        raise InputError(
            "the lag is not stated",
            where=where,
            key="--lag",
            remedy="Say how long after the end of its interval (or its stamp) a value can be known: --lag 6h; "
            "--lag 0s for at once",
        )
    lag_ns = lag_ns or 0
    if options.lag is None:
        sheet.notes.append("taken as known when it was written (lag 0s assumed; say --lag when it came later)")
    return event_ns + lag_ns, options.quality_or("assumed_lag", where)


def say_known(sheet: Sheet, what: str, event_ns: I8, known_ns: I8, quality: str) -> None:
    """Note, by the first good row, when things are known: a wrong lag is seen there at once."""
    good = np.flatnonzero(sheet.good())
    if len(good) == 0:
        return
    first = good[np.argmin(event_ns[good])]
    event, known = format_time(int(event_ns[first])), format_time(int(known_ns[first]))
    sheet.notes.append(f"{what} {event} is known at {known} ({quality})")


def posts_of(sheet: Sheet, options: ImportOptions, ingested_ns: int) -> Batch:
    """Facts and bad rows of a file of posts.

    The key of a post is its id column, else its address, else a hash of source, time, author and text.

    Raises
    ------
    InputError
        Columns missing, times that can't be told, bare dates without ``--stamp start --interval 1d``.
    """
    texts = _post_texts(sheet, options)
    event_ns = event_times(sheet, options)
    known_ns, quality = known_times(sheet, options, event_ns, lag_required=False)
    sheet.blame(np.array([not text for text in texts], dtype=bool), "no text")
    sheet.blame(event_ns > ingested_ns, FUTURE)
    sources = _sources(sheet, options)
    authors, urls = sheet.texts("author"), sheet.texts("url")
    keys = sheet.texts("key")
    for at in np.flatnonzero(sheet.good()):
        keys[at] = keys[at] or urls[at] or _hashed(sources[at], int(event_ns[at]), authors[at], texts[at])
    name = sheet.find("followers")
    followers = np.full(sheet.rows, np.nan) if name is None else sheet.floats(name)[0]
    good = sheet.good()
    say_known(sheet, "the post of", event_ns, known_ns, quality)
    facts = fact_table(
        "posts",
        {
            "source": _taken(sources, good),
            "key": _taken(keys, good),
            "event_ns": event_ns[good],
            "known_ns": known_ns[good],
            "ingested_ns": ingested_ns,
            "quality": quality,
            "text": _taken(texts, good),
            "author": _taken(authors, good),
            "followers": followers[good],
            "url": _taken(urls, good),
        },
    )
    return Batch("posts", facts, sheet.rejects(lambda row: sources[row]), tuple(sheet.notes))


def scores_of(sheet: Sheet, options: ImportOptions, ingested_ns: int) -> Batch:
    """Facts and bad rows of a file of scores that some model gave to posts.

    A file with the three probabilities and no score gets the usual one, bullish less bearish. ``cluster`` and ``flags``
    are 0 where the file says nothing of them.

    Raises
    ------
    InputError
        Model, revision, coin or lag not stated, columns missing, times that can't be told.
    """
    keys = sheet.texts("key") if sheet.need("key") else []
    score = _scores(sheet)
    stated = {
        "model": _stated(sheet, "model", options.model),
        "model_revision": _stated(sheet, "model_revision", options.model_revision),
        "coin": [coin.upper() for coin in _stated(sheet, "coin", options.coin)],
    }
    event_ns = event_times(sheet, options)
    known_ns, quality = known_times(sheet, options, event_ns, lag_required=True)
    sheet.blame(np.isnan(score), "no score")
    sheet.blame(np.abs(np.nan_to_num(score)) > 1, "score outside -1 to 1")
    sheet.blame(np.array([not key for key in keys], dtype=bool), "no key")
    for meaning, texts in stated.items():
        sheet.blame(np.array([not text for text in texts], dtype=bool), f"no {meaning}")
    sheet.blame(event_ns > ingested_ns, FUTURE)
    numbers: dict[str, Any] = {}
    for meaning in ("p_bearish", "p_neutral", "p_bullish", "followers"):
        name = sheet.find(meaning)
        numbers[meaning] = np.full(sheet.rows, np.nan) if name is None else sheet.floats(name)[0]
        if meaning != "followers":
            sheet.blame(~np.isnan(numbers[meaning]) & ~_within(numbers[meaning]), f"{meaning} outside 0 to 1")
    authors, sources = sheet.texts("author"), _sources(sheet, options)
    cluster = _whole(sheet, "cluster", I8_LEAST, I8_MOST, "of 64 bits")
    flags = _whole(sheet, "flags", 0, sum(FLAGS), f"from 0 to {sum(FLAGS)}")
    good = sheet.good()
    say_known(sheet, "the score of the post of", event_ns, known_ns, quality)
    facts = fact_table(
        "sentiment",
        {
            "source": _taken(sources, good),
            "key": _taken(keys, good),
            **{meaning: _taken(texts, good) for meaning, texts in stated.items()},
            "event_ns": event_ns[good],
            "known_ns": known_ns[good],
            "ingested_ns": ingested_ns,
            "quality": quality,
            **{meaning: values[good] for meaning, values in numbers.items()},
            "score": score[good],
            "author": _taken(authors, good),
            "cluster": cluster[good],
            "flags": flags[good],
        },
    )
    rejects = sheet.rejects(lambda row: f"{stated['model'][row]}|{stated['model_revision'][row]}")
    return Batch("sentiment", facts, rejects, tuple(sheet.notes))


def _scores(sheet: Sheet) -> F8:
    bearish, neutral, bullish = (sheet.find(name) for name in ("p_bearish", "p_neutral", "p_bullish"))
    if sheet.find("score") is None and bearish and neutral and bullish:
        sheet.notes.append("score: p_bullish less p_bearish")
        return sheet.floats(bullish)[0] - sheet.floats(bearish)[0]
    return sheet.floats(sheet.need("score"))[0]


def _whole(sheet: Sheet, meaning: str, least: int, most: int, told: str) -> I8:
    """Whole numbers of a column that may be left out: 0 where nothing is said, rows with anything else blamed."""
    numbers = np.zeros(sheet.rows, np.int64)
    wrong = np.zeros(sheet.rows, dtype=bool)
    for at, text in enumerate(sheet.texts(meaning)):
        if not text:
            continue
        number = int(text) if _WHOLE.fullmatch(text) else None
        if number is None or not least <= number <= most:
            wrong[at] = True
        else:
            numbers[at] = number
    sheet.blame(wrong, f"{meaning} is not a whole number {told}")
    return numbers


def _post_texts(sheet: Sheet, options: ImportOptions) -> list[str]:
    """What was written: the mapped columns, else title and text together, else the one there is."""
    if "text" in options.columns:
        return sheet.texts("text")
    title, text = sheet.find("title"), sheet.find("text")
    if title is None:
        sheet.need("text")
        return sheet.texts("text")
    titles = sheet.texts("title")
    if text is None:
        return titles
    sheet.notes.append(f"text: {title} and {text} together (--map text={text} for one of them)")
    pairs = zip(titles, sheet.texts("text"), strict=True)
    return ["\n\n".join(piece for piece in pair if piece) for pair in pairs]


def _sources(sheet: Sheet, options: ImportOptions) -> list[str]:
    if options.source is not None and "source" not in options.columns:
        return [options.source] * sheet.rows
    return [text or DEFAULT_SOURCE for text in sheet.texts("source", DEFAULT_SOURCE)]


def _stated(sheet: Sheet, meaning: str, said: str | None) -> list[str]:
    if said is not None:
        return [said] * sheet.rows
    if sheet.find(meaning) is not None:
        return sheet.texts(meaning)
    option = "--" + meaning.replace("_", "-")
    raise InputError(
        f"the {meaning.replace('_', ' ')} is not stated",
        where=sheet.where,
        key=option,
        remedy=f"Say {option} ..., or name its column with --map {meaning}=COLUMN",
    )


def _hashed(source: str, event_ns: int, author: str, text: str) -> str:
    content = "\x1f".join((source, str(event_ns), author, text)).encode("utf-8", "surrogatepass")
    return "h" + hashlib.blake2b(content, digest_size=8).hexdigest()


def _taken(texts: list[str], mask: Any) -> list[str]:
    return [texts[at] for at in np.flatnonzero(mask)]


def _within(values: Any) -> Any:
    return (values >= 0) & (values <= 1)
