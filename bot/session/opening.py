"""Takes an account's folder: lock, journal, engine; a fresh one warmed up, an old one recovered and gone on with."""

from __future__ import annotations

import os
import platform
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from backtest.spec import RunSpec, bar_patience
from bot.engine import Engine
from bot.events import Transfer, pack
from bot.journal import Journal
from bot.journal.places import JOURNAL_FILE
from bot.operate.files import account_folder, write_whole
from bot.operate.lock import InstanceLock, acquire
from bot.recover import Recovered, Warm, recover, take_terms, warm_records
from bot.session.terms import engine_of, header_of, spec_of_header, terms_body
from bot.snapshot import snapshot_body
from bot.step import step_body
from data.errors import InputError
from data.times import format_duration

if TYPE_CHECKING:
    from bot.config import Config

Tell = Callable[[str], None]
# Limits that signals and the watch for the unusual are made with: a session keeps those that it began with.
FIXED = (  # what can't change from session to session, by its place in the configuration
    "run.symbols", "run.bar", "run.market", "run.model", "run.model_revision", "run.decide_on", "run.every",
    "run.decision_delay", "run.risk_bar", "limits.signal_age", "limits.novelty_return_z", "limits.novelty_volume_z",
    "limits.flood_posts", "limits.flood_z", "limits.flood_share", "limits.flood_pause", "limits.mood_jump",
)  # fmt: skip
OF_ACCOUNT = ("id", "account", "sandbox", "demo")
ANOTHER = "Go back to it, or begin a new session under another live.name"
BOT_FILE = "bot"


@dataclass
class Opened:
    """A session that is ready to run."""

    folder: Path
    mode: str
    bot_id: str
    session: str
    lock: InstanceLock
    journal: Journal
    engine: Engine
    spec: RunSpec
    recovered: Recovered
    fresh: bool

    @property
    def header(self) -> dict[str, Any]:
        """The journal's first record."""
        return self.journal.header

    def close(self, now_ns: int) -> None:
        """Let go of journal and lock."""
        self.journal.close()
        self.lock.release(now_ns)


def folder_of(config: Config, var: Path, mode: str, name: str | None = None) -> Path:
    """The account's folder, made when it isn't there."""
    folder = account_folder(var, mode, name or config.live.name)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"can't be made ({error.strerror})", where=folder) from None
    return folder


def open_session(
    config: Config, spec: RunSpec, folder: Path, *, mode: str, now_ns: int, person: str, outside: bool, stops: bool,
    warm: Callable[[], Iterable[Warm]], tell: Tell, facts: dict[str, Any] | None = None, take_over: bool = False,
) -> Opened:  # fmt: skip
    """Open a session's journal, or begin one.

    Parameters
    ----------
    spec : RunSpec
        With every market's grid; an old session keeps the grid that it began with.
    warm : callable
        History for the signals of a fresh session.
    facts : dict, optional
        More for the session's record: versions of the exchange's side, who confirmed the limits.

    Raises
    ------
    RefusedError
        Another process has the account, or the journal doesn't come out the same again.
    InputError
        Strategy, symbols, bars, model or exchange aren't those that the session began with.
    """
    session = secrets.token_hex(4)
    file = folder / JOURNAL_FILE
    bot_id = bot_id_of(folder)
    lock = acquire(folder, session=session, bot_id=bot_id, now_ns=now_ns, take_over=take_over)
    journal: Journal | None = None
    try:
        fresh = not file.exists()
        if fresh:
            header = header_of(config, spec, bot_id=bot_id, mode=mode, outside=outside, stops=stops)
            journal = Journal.create(file, header, ns=now_ns)
            engine = engine_of(spec, journal.header)
            recovered = _warm_up(engine, journal, warm(), now_ns, tell)
            running = engine.spec
        else:
            journal = Journal.open(file)
            then = same_run(journal.header, config, spec)
            engine, recovered = _take_up(journal, then, spec, tell)
            running = _with_markets_of(spec, engine.spec)
        opened = Opened(folder, mode, bot_id, session, lock, journal, engine, running, recovered, fresh)
        _record(opened, config, now_ns, person, facts or {})
        return opened
    except BaseException:
        if journal is not None:
            journal.close()
        lock.release(now_ns)
        raise


def bot_id_of(folder: Path) -> str:
    """The account's bot id: of its journal, else of a start that didn't come so far, else a new one."""
    header, kept = _header_in(folder), folder / BOT_FILE
    if header is not None:
        return str(header["bot"])
    if not kept.exists():
        write_whole(kept, secrets.token_hex(4))
    return kept.read_text()


def _header_in(folder: Path) -> dict[str, Any] | None:
    """The header of a folder's journal; None where none was begun."""
    from bot.journal import Reader

    file = folder / JOURNAL_FILE
    if not file.exists():
        return None
    with Reader(file) as reader:
        return reader.header


def _warm_up(engine: Engine, journal: Journal, facts: Iterable[Warm], now_ns: int, tell: Tell) -> Recovered:
    count = 0

    def learnt() -> Iterable[Warm]:
        nonlocal count
        for fact in facts:
            engine.learn(fact)
            count += 1
            yield fact

    for body in warm_records(learnt()):
        journal.append(now_ns, "warm", body)
    journal.commit()
    tell(f"signals warmed up on {count:,} facts of the store")
    return Recovered()


def refuse_before(folder: Path, config: Config, spec: RunSpec) -> None:
    """`same_run` for the session of a folder, if there is one: before anything is started or written for it.

    A person's `halt` works by what was written for the last start, and has to find the orders that stand.
    """
    header = _header_in(folder)
    if header is not None:
        same_run(header, config, spec)


def same_run(header: Mapping[str, Any], config: Config, wanted: RunSpec) -> RunSpec:
    """The run of the session that is taken up, where it is in the same account and the same run as far as it has to be.

    Raises
    ------
    InputError
        Says what is different, and what it was.
    """
    _refuse_elsewhere(header, config)
    then = spec_of_header(header)
    for name in FIXED:
        mine, theirs = _stated(wanted, name), _stated(then, name)
        if mine != theirs:
            what = f"the session that is taken up, and its signals, were begun with {theirs}"
            raise InputError(what, key=name, value=mine, remedy=ANOTHER)
    return then


def _refuse_elsewhere(header: Mapping[str, Any], config: Config) -> None:
    """What a session holds and has at work lies in one account of one venue: in another one it is somebody else's."""
    then, now = header["config"].get("exchange", {}), config.plain()["exchange"]
    for name in OF_ACCOUNT:
        if then.get(name) != now[name]:
            what = f"the session that is taken up has its orders and holdings where this is {then.get(name)!r}"
            raise InputError(what, key=f"exchange.{name}", value=now[name], remedy=ANOTHER)
    before, after = _hosts(then), _hosts(now)
    if before != after:
        what = f"the session that is taken up has its orders and holdings at {', '.join(before) or 'the venue itself'}"
        raise InputError(what, key="exchange.urls", value=", ".join(after) or "none", remedy=ANOTHER)


def _hosts(exchange: Mapping[str, Any]) -> list[str]:
    return sorted({str(urlsplit(url).hostname) for url in exchange.get("urls", {}).values()})


def _take_up(journal: Journal, then: RunSpec, wanted: RunSpec, tell: Tell) -> tuple[Engine, Recovered]:
    """The engine in the state in which the journal ends, under the terms of the present configuration."""
    header = journal.header
    engine = engine_of(then, header)
    recovered = recover(engine, journal)
    torn = journal.recovery.torn
    tell(f"journal recovered: {recovered.events:,} events since the last snapshot handled again" + (
        f"; {torn} frames of an unfinished commit were cut" if torn else ""))  # fmt: skip
    fresh = engine_of(_with_markets_of(wanted, then), header)
    take_terms(engine.desk, {"terms": terms_body(fresh.desk)})
    return engine, recovered


def _stated(spec: RunSpec, name: str) -> Any:
    """What a run was given for a key of its configuration, as a person would write it."""
    section, _, field = name.partition(".")
    holder = spec.limits if section == "limits" else spec
    if hasattr(holder, f"{field}_ns"):
        patience = bar_patience(spec.bar_ns) if field == "decision_delay" else 0  # which a session adds by itself
        return format_duration(getattr(holder, f"{field}_ns") - patience)
    value = getattr(holder, field)
    return list(value) if isinstance(value, (list, tuple)) else value


def _with_markets_of(wanted: RunSpec, then: RunSpec) -> RunSpec:
    return replace(wanted, markets=dict(then.markets))


def _move_allocation(opened: Opened, ns: int, person: str, before: float, now: float) -> int:
    """run.cash was changed between two sessions: the difference moves in or out, as units, not as a profit."""
    if now == before:
        return ns
    moved = Transfer(ns=ns + 1, amount=now - before, person=person, reason=f"run.cash was {before:g}, is {now:g}")
    step = opened.engine.handle(moved)
    opened.journal.append(moved.ns, "event", pack(moved))
    opened.journal.append(moved.ns, "step", step_body(step, opened.engine.symbols, opened.engine.names))
    return moved.ns + 1


def _record(opened: Opened, config: Config, now_ns: int, person: str, facts: dict[str, Any]) -> None:
    """The session's own record, then a snapshot, so that recovery of what follows begins here."""
    from bot.limit_table import limits_hash

    journal, engine = opened.journal, opened.engine
    ns = max(now_ns, engine.now_ns + 1)
    body = {
        "session": opened.session,
        "person": person,
        "pid": os.getpid(),
        "config_hash": config.hash(),
        "limits_hash": limits_hash(config),
        "strategy": opened.spec.strategy.identity(),
        "model": [opened.spec.model, opened.spec.model_revision],
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in ("numpy", "numba", "ccxt")},
        "allocation": str(config.run.cash),
        "terms": terms_body(engine.desk),
        **facts,
    }
    before = journal.last("session")
    journal.append(ns, "session", body)
    if before is not None:
        ns = _move_allocation(opened, ns, person, float(before.body["allocation"]), float(config.run.cash))
    snapshot = snapshot_body(engine, ns, feeds={})
    snapshot["order_sessions"] = [[order, name] for order, name in opened.recovered.sessions.items()]
    journal.append(ns, "snapshot", snapshot)
    journal.commit()
