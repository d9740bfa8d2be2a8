"""The kill latch: one small durable file that says whether an account may trade. No file, or a torn one: HALTED.

Software only ever writes HALTED. ACTIVE is a person's word, but for the very first start of a paper session.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from bot.operate.files import read_small, short_lock, sync_folder, unique_keys, write_whole
from data.errors import InputError, RefusedError, WorkError

LATCH_FILE = "latch"
ACTIVE, HALTED = "ACTIVE", "HALTED"
TEXT_MAX = 1000


@dataclass(frozen=True, kw_only=True)
class Latch:
    """What the latch says. `sound` False: it is HALTED because it is missing or can't be trusted; `reason` says why."""

    level: str
    person: str
    reason: str
    ns: int
    sound: bool = True

    @property
    def halted(self) -> bool:
        """True unless a sound latch says ACTIVE."""
        return not (self.sound and self.level == ACTIVE)


def read_latch(folder: Path) -> Latch:
    """The latch of an account's folder. Never raises and never hangs: what isn't a whole sound latch is HALTED."""
    try:
        raw = read_small(folder / LATCH_FILE)
    except FileNotFoundError:
        return _unsound("the latch file is missing")
    except (OSError, ValueError) as error:
        return _unsound(f"the latch file can't be read ({error})")
    try:
        return _parsed(raw)
    except (ValueError, TypeError, RecursionError) as error:
        return _unsound(f"the latch file is corrupt ({error})")


def write_latch(folder: Path, level: str, person: str, reason: str, ns: int) -> Latch:
    """Write the latch, durable before this returns.

    HALTED is written whatever else goes on; when it can't be written (a full disk), the file is removed instead, since
    a missing latch is HALTED too. To make a halted account ACTIVE again use `release_latch`, which can't overrule a
    halt that came in meanwhile.

    Raises
    ------
    InputError
        Level, person or reason isn't given rightly, or the folder isn't there.
    WorkError
        It couldn't be made durable. When ACTIVE was to be written, the account stays, or is now, HALTED.
    """
    new = _checked(folder, level, person, reason, ns)
    with short_lock(folder / f"{LATCH_FILE}.lock", wait_s=1.0):
        return _write(folder, new)


def release_latch(folder: Path, seen: Latch, person: str, reason: str, ns: int) -> Latch:
    """Make the latch ACTIVE, if it still says what the person has `seen`.

    Raises
    ------
    RefusedError
        It was written meanwhile, or somebody is just writing it.
    InputError or WorkError
        As `write_latch`.
    """
    new = _checked(folder, ACTIVE, person, reason, ns)
    with short_lock(folder / f"{LATCH_FILE}.lock", wait_s=2.0) as got:
        now = read_latch(folder)
        if not got or now != seen:
            raise RefusedError(f"the kill latch changed meanwhile: {now.level} by {now.person}, {now.reason}")
        return _write(folder, new)


def _write(folder: Path, new: Latch) -> Latch:
    body = {name: value for name, value in asdict(new).items() if name != "sound"}
    file = folder / LATCH_FILE
    try:
        write_whole(file, json.dumps(body) + "\n", mode=0o644)
    except OSError as error:
        try:
            file.unlink(missing_ok=True)
            sync_folder(folder)
        except OSError as second:
            raise WorkError(f"{file}: the latch can be neither written ({error}) nor removed ({second})") from None
        if new.level == ACTIVE:
            raise WorkError(f"{file}: can't be written ({error}); the account stays HALTED") from None
        return _unsound(f"{new.reason} (the latch couldn't be written, {error}, so it was removed: that is HALTED too)")
    return new


def _checked(folder: Path, level: str, person: str, reason: str, ns: int) -> Latch:
    if level not in (ACTIVE, HALTED):
        raise InputError("neither ACTIVE nor HALTED", key="level", value=level)
    if not folder.is_dir():
        raise InputError("there is no such session folder", where=folder)
    person, reason = (" ".join(text.split())[:TEXT_MAX] for text in (person, reason))
    if level == HALTED:  # a halt is never refused for its wording
        return Latch(level=level, person=person or "somebody", reason=reason or "no reason given", ns=ns)
    for key, text in (("person", person), ("reason", reason)):
        if not text:
            raise InputError(f"{key} is missing", key=key, remedy="Say who makes it ACTIVE, and why")
    return Latch(level=level, person=person, reason=reason, ns=ns)


def _parsed(raw: bytes) -> Latch:
    if not raw.endswith(b"\n") or raw.count(b"\n") != 1:
        raise ValueError("not one whole line")
    body = json.loads(raw, object_pairs_hook=unique_keys)
    if not isinstance(body, dict) or set(body) != {"level", "person", "reason", "ns"}:
        raise ValueError("not the fields of a latch")
    texts = [body["level"], body["person"], body["reason"]]
    if not all(isinstance(text, str) and text for text in texts) or type(body["ns"]) is not int:
        raise ValueError("a field is of another type")
    if body["level"] not in (ACTIVE, HALTED):
        raise ValueError("the level is none of a latch")
    return Latch(**body)


def _unsound(reason: str) -> Latch:
    return Latch(level=HALTED, person="", reason=reason, ns=0, sound=False)
