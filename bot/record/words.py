"""A recorder's figures as people read them: in its own view and in `tidegate status`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from bot.operate.words import NONE, age, age_s, moment

SOCKET_FILE: Final = "record.sock"
GAPS_SHOWN: Final = 5
FEED_COLUMNS: Final = ("feed", "state", "posts/s", "facts", "lag", "heard", "waits", "errors", "gaps", "last error")


def head_line(body: dict[str, Any]) -> str:
    """Since when it records, how fast, and whether it is ending."""
    feeds = body["feeds"].values()
    rate = sum(feed["posts_per_s"] for feed in feeds)
    what = "ending" if body.get("ending") else "recording"
    return (
        f"{what} for {age(body['at_ns'] - body['began_ns'])}, process {body['pid']}: {len(feeds)} feeds, "
        f"{rate:,.1f} posts/s, {sum(feed['facts'] for feed in feeds):,} facts"
    )


def feed_rows(body: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """One row for each feed, under `FEED_COLUMNS`."""
    for name, feed in body["feeds"].items():
        state = feed["state"]
        if feed.get("again_in_s"):
            state = f"{state}, again in {age_s(feed['again_in_s'])}"
        yield (
            name, state, f"{feed['posts_per_s']:,.1f}", f"{feed['facts']:,}", seconds(feed["lag_s"]),
            NONE if feed["age_s"] is None else f"{age_s(feed['age_s'])} ago", f"{feed['waiting']:,}",
            f"{feed['errors']:,}", f"{feed['gaps']:,}", feed["last_error"] or NONE,
        )  # fmt: skip


def writer_line(body: dict[str, Any]) -> str:
    """What is written and how long it takes; why not, when the disk refuses."""
    writer = body["writer"]
    if writer.get("trouble"):
        return f"NOT RECORDING, try {writer['retries']}: {writer['trouble']}"
    late = sum(feed["late_writes"] for feed in body["feeds"].values())
    return (
        f"written      {writer['added']:,} new, {writer['revised']:,} revised, {writer['unchanged']:,} known before, "
        f"{late:,} late; a commit takes {writer['commit_ms']:,.0f} ms, {writer['commit_ms_most']:,.0f} at most"
    )


def scoring_line(body: dict[str, Any]) -> str:
    """Model, backlog and delay of the scorer."""
    told = body.get("scoring")
    if told is None:
        return ""
    if told.get("trouble") or "model" not in told:
        return f"scoring      {told.get('trouble') or 'the scorer begins'}"
    if told.get("waits_for"):
        return f"scoring      {told['waits_for']}"
    delay, delayed = told.get("delay_ms"), ""
    if delay:
        delayed = f"; from arrival to score {seconds(delay['median'] / 1e3)}, 95% within {seconds(delay['p95'] / 1e3)}"
    done, waits = told.get("posts_done", 0), told.get("posts_waiting", 0)
    return f"scoring      {told['model']}: {done:,} posts done, {waits:,} wait, oldest first{delayed}"


def caps(body: dict[str, Any]) -> Iterator[str]:
    """What paid feeds have spent of their caps."""
    for name, spent in (body.get("spend") or {}).items():
        told = [
            f"{amount} USD of {spent[cap]} {period}" if spent.get(cap) else f"{amount} USD {period}"
            for key, cap, period in (("today", "cap_day", "today"), ("this_month", "cap_month", "this month"))
            if (amount := spent.get(key)) is not None
        ]
        why = [f"STOPPED: {spent['why']}"] if spent.get("why") else []
        yield f"spend        {name}: {', '.join([*told, *why])}"


def gap_rows(body: dict[str, Any]) -> Iterator[str]:
    """The last gaps."""
    for gap in body["gaps"][-GAPS_SHOWN:]:
        until = moment(gap["until_ns"]) if gap["until_ns"] else "now"
        yield f"gap          {gap['source']}: {moment(gap['since_ns'])} to {until}"


def plain_line(body: dict[str, Any]) -> str:
    """All of it in one line, for a log."""
    states = ", ".join(
        f"{name} {feed['state']} {feed['facts']:,}" + (f" ({feed['errors']:,} errors)" if feed["errors"] else "")
        for name, feed in body["feeds"].items()
    )
    told = body.get("scoring") or {}
    waits = f"; {told['posts_waiting']:,} posts wait for their score" if told.get("posts_waiting") else ""
    trouble = f"; {writer_line(body)}" if body["writer"].get("trouble") else ""
    return f"{moment(body['at_ns'])}  {head_line(body)}: {states}{waits}{trouble}"


def seconds(value: float | None) -> str:
    """A lag or a delay; below a second in milliseconds."""
    if value is None:
        return NONE
    return f"{value * 1e3:,.0f}ms" if abs(value) < 1 else age_s(value)
