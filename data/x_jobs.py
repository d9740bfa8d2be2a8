"""X's batch compliance: a list of posts is handed in, and comes back as the list of those that are gone.

X's price list has no line for it (read on 2026-08-22), and a job takes any number of posts. So it is how deletions are
looked for first. The list goes to and comes from a store that X names for each job; the key of the account doesn't.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from data.clean import clean_name
from data.feed import FeedError, Tools
from data.http import read_json
from data.x_api import XApi
from data.x_posts import is_number

POLL_S: Final = 60.0
POLLS_MAX: Final = 240
KEPT_REASONS: Final = frozenset({"scrub_geo"})
"""What isn't about the text: only the place was removed, which we don't have."""


async def start_job(api: XApi, keys: Sequence[str]) -> str:
    """Hand in posts, and say by which identity the job is known. Raises FeedError."""
    told = _job(await api.create_job())
    await api.door.carry("PUT", _address(told, "upload_url"), "\n".join(keys).encode() + b"\n")
    return clean_name(told.get("id"))


async def finish_job(api: XApi, identity: str, tools: Tools) -> tuple[frozenset[str], int]:
    """Wait for a job: the posts that are gone, and when we knew.

    Raises
    ------
    FeedError
        It failed, or takes too long.
    """
    for _ in range(POLLS_MAX):
        told = _job(await api.job(identity))
        tools.alive()
        if told.get("status") == "complete":
            answer = await api.door.carry("GET", _address(told, "download_url"))
            return _read_gone(answer.body, answer.shown), answer.arrived_ns
        if told.get("status") not in ("created", "in_progress"):
            raise FeedError(f"X's compliance job: {clean_name(told.get('status')) or 'no status'}")
        await tools.sleep(POLL_S)
    raise FeedError("X's compliance job takes too long")


def _read_gone(body: bytes, shown: str) -> frozenset[str]:
    """Identities from a result: a JSON object a line."""
    gone = set()
    for line in body.splitlines():
        row = read_json(line, shown) if line.strip() else None
        if row is None:
            continue
        if not isinstance(row, dict):
            raise FeedError(f"{shown}: a line that is no object")
        if row.get("action") == "delete" and row.get("reason") not in KEPT_REASONS and is_number(row.get("id")):
            gone.add(str(row["id"]))
    return frozenset(gone)


def _job(answer: Any) -> dict[str, Any]:
    told = answer.values().get("data")
    if not isinstance(told, dict) or not is_number(told.get("id")):
        raise FeedError(f"{answer.shown}: the answer is no job")
    return told


def _address(told: dict[str, Any], name: str) -> str:
    found = told.get(name)
    if not isinstance(found, str):
        raise FeedError(f"X's compliance job has no {name}")
    return found
