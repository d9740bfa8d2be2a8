"""From a journal back to the engine: warm facts learnt, the last snapshot restored, every event since handled again.

What comes of an event the second time has to be what was written the first time. Where it isn't, the code, the strategy
or the machine is another one, and the session doesn't go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from bot.engine import Engine
from bot.events import Bar, Event, Observation, Posts, pack, unpack
from bot.frozen import thaw
from bot.step import Step, step_body
from data.errors import RefusedError
from risk.desk import Desk

CHUNK = 400  # warm facts of one record
ANOTHER_VERSION = "Go back to the version that wrote them, or begin anew under another live.name"
FACTS = "facts"  # of a step with decisions: the records that were known to them, see `bot.behind`

Warm = Bar | Posts | Observation


class Record(Protocol):
    """One record of a journal."""

    @property
    def seq(self) -> int: ...
    @property
    def ns(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def body(self) -> dict[str, Any]: ...


class Records(Protocol):
    """A journal to read."""

    def records(self, since: int = 0, kinds: Any = None) -> Iterator[Any]:
        """Records after a number, of those kinds, in order."""
        ...

    def last(self, kind: str) -> Any:
        """The newest record of a kind, or None."""
        ...


@dataclass
class Recovered:
    """What the next session takes up besides the engine."""

    sessions: dict[int, str] = field(default_factory=dict)  # who sent the working orders
    known: list[str] = field(default_factory=list)  # every session of this journal
    venue: dict[str, Any] | None = None
    events: int = 0  # handled again


def warm_records(facts: Iterable[Warm]) -> Iterator[dict[str, Any]]:
    """Bodies of "warm" records: facts that signals learn before the first event."""
    chunk: list[dict[str, Any]] = []
    for fact in facts:
        chunk.append(pack(fact))
        if len(chunk) == CHUNK:
            yield {"events": chunk}
            chunk = []
    if chunk:
        yield {"events": chunk}


def warm_facts(journal: Records) -> Iterator[Warm]:
    """The facts of a journal's "warm" records."""
    for record in journal.records(kinds=("warm",)):
        for body in record.body["events"]:
            fact = unpack(body)
            assert isinstance(fact, Bar | Posts | Observation)
            yield fact


def same_step(step: Step, recorded: Mapping[str, Any] | None, engine: Engine) -> str:
    """In which parts a step differs from the recorded one; empty when in none."""
    body = {} if step.empty else plain_body(step_body(step, engine.symbols, engine.names))
    recorded = recorded or {}
    names = sorted((body.keys() | recorded.keys()) - {FACTS})
    parts = [name for name in names if body.get(name) != recorded.get(name)]
    return ", ".join(parts)


def plain_body(body: dict[str, Any]) -> dict[str, Any]:
    """A body as it comes back from JSON."""
    import json

    found: dict[str, Any] = json.loads(json.dumps(body))
    return found


def pairs(journal: Records, since: int) -> Iterator[tuple[Any, dict[str, Any] | None]]:
    """(record, body of the step that came of it or None) of every event, and (record, None) of the other kinds."""
    waiting: Any = None
    for record in journal.records(since=since):
        if record.kind == "step":
            yield waiting, record.body
            waiting = None
            continue
        if waiting is not None:
            yield waiting, None
            waiting = None
        if record.kind == "event":
            waiting = record
        else:
            yield record, None
    if waiting is not None:
        yield waiting, None


def take_terms(desk: Desk, body: Mapping[str, Any], **venue: bool) -> None:
    """Put the limits, the policy and the markets of a session's record in force; venue: what of the policy stays
    otherwise.

    Raises
    ------
    RefusedError
        They are none that this version writes.
    """
    try:
        terms = thaw(dict(body.get("terms", {})))
        for name, value in venue.items() if "policy" in terms else ():
            terms["policy"][name] = value
        desk.obey(terms)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        what = "the limits and the policy in the journal are none that this version of Tidegate writes"
        raise RefusedError(f"{what} ({str(error)[:100]}). {ANOTHER_VERSION}") from error


def set_terms_of(engine: Engine, journal: Records, seq: int) -> None:
    """The terms of the session that was running at a record."""
    running: dict[str, Any] = {}
    for record in journal.records(kinds=("session",)):
        if record.seq <= seq:
            running = record.body
    take_terms(engine.desk, running)


def recover(engine: Engine, journal: Records) -> Recovered:
    """Bring a fresh engine to the state in which the journal ends.

    Raises
    ------
    RefusedError
        An event led to something else than was written.
    """
    found = Recovered()
    since = 0
    snapshot = journal.last("snapshot")
    if snapshot is not None:
        engine.restore(snapshot.body["engine"])
        set_terms_of(engine, journal, snapshot.seq)
        found.sessions = {int(order): str(session) for order, session in snapshot.body.get("order_sessions", [])}
        since = snapshot.seq
    else:
        for fact in warm_facts(journal):
            engine.learn(fact)
    session = ""
    for record in journal.records(kinds=("session", "venue")):
        if record.kind == "session":
            found.known.append(str(record.body["session"]))
            session = found.known[-1] if record.seq <= since else session
        else:
            found.venue = record.body
    for record, recorded in pairs(journal, since):
        if record.kind == "session":
            session = str(record.body["session"])
            take_terms(engine.desk, record.body)
        if record.kind != "event":
            continue
        event: Event = unpack(record.body)
        step = engine.handle(event)
        differs = same_step(step, recorded, engine)
        if differs:
            raise RefusedError(
                f"record {record.seq} of the journal doesn't come out the same again ({differs}): it was written by "
                f"other code or another strategy. Go back to that version, or begin anew under another live.name"
            )
        found.events += 1
        for order in step.sent["id"].tolist():
            found.sessions[int(order)] = session
    working = set(np.asarray(engine.desk.working["id"]).tolist())
    found.sessions = {order: name for order, name in found.sessions.items() if order in working}
    return found
