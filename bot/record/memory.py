"""What recording remembers on disk: of each feed how far it is, and of all together when they were last heard.

`VAR/feeds/NAME.json` holds the cursor of a feed's last acknowledged batch and the deletions that wait for their purge;
it is written after the facts are stored. `VAR/feeds/_heard.json` holds the last sign of life of every source, so that
a gap is known although the process was killed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from bot.operate.files import write_whole
from data.errors import InputError
from data.gaps import FEED_UP

HEARD_FILE: Final = "_heard.json"
FORMAT: Final = 1


@dataclass(frozen=True)
class Kept:
    """A feed's memory: source it is of, cursor, and keys of posts to be purged by source of the posts."""

    source: str
    cursor: Mapping[str, Any] = field(default_factory=dict)
    gone: Mapping[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Heard:
    """What is on disk of a source: whether the store says that it is up, its last sign of life, its last marker.

    `metric` is what its markers are called, and `origins` are further sources that its facts name: sites, venues.
    """

    up: bool = False
    alive_ns: int = 0
    marker_ns: int = 0
    metric: str = FEED_UP
    origins: tuple[str, ...] = ()


def feed_file(folder: Path, name: str) -> Path:
    """Where a feed's memory lies; a feed's name begins with a letter or a digit, the other files' don't."""
    return folder / f"{name}.json"


def read_kept(folder: Path, name: str, source: str) -> Kept:
    """A feed's memory; a new one when it never ran, or when the name belonged to another source.

    Raises
    ------
    InputError
        The file is damaged.
    """
    file = feed_file(folder, name)
    body = _read(file)
    if body is None:
        return Kept(source)
    try:
        kept = Kept(str(body["source"]), dict(body["cursor"]), {str(k): list(v) for k, v in body["gone"].items()})
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _damaged(file) from None
    return kept if kept.source == source else Kept(source, {}, kept.gone)


def write_kept(folder: Path, name: str, kept: Kept) -> None:
    """Put a feed's memory in place, durably. Raises OSError."""
    write_whole(feed_file(folder, name), json.dumps({"format": FORMAT, **asdict(kept)}) + "\n")


def read_heard(folder: Path) -> dict[str, Heard]:
    """Signs of life by source.

    Raises
    ------
    InputError
        The file is damaged.
    """
    file = folder / HEARD_FILE
    body = _read(file)
    if body is None:
        return {}
    try:
        return {
            str(name): Heard(
                bool(one["up"]), int(one["alive_ns"]), int(one["marker_ns"]), str(one["metric"]), tuple(one["origins"])
            )
            for name, one in body["sources"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _damaged(file) from None


def write_heard(folder: Path, heard: Mapping[str, Heard]) -> None:
    """Put the signs of life in place, durably. Raises OSError."""
    body = {"format": FORMAT, "sources": {name: asdict(one) for name, one in heard.items()}}
    write_whole(folder / HEARD_FILE, json.dumps(body) + "\n")


def _read(file: Path) -> dict[str, Any] | None:
    try:
        body = json.loads(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"can't be read ({error.strerror})", where=file) from error
    except ValueError:
        raise _damaged(file) from None
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise _damaged(file)
    return body


def _damaged(file: Path) -> InputError:
    remedy = "Remove it: the feed begins anew where its source lets it, and nothing is stored twice"
    return InputError("the memory of a feed is damaged", where=file, remedy=remedy)
