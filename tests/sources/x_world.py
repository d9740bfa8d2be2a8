"""X's API version 2 on loopback, as its documentation shows it: rules, stream, recent search, look-up, compliance jobs.

It counts what it would bill: every post that it has sent, in whatever answer.
"""

import asyncio
import json
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from data.times import MILLISECOND_NS, SECOND_NS, parse_time
from data.x_posts import id_at
from tests.sources.server import reply
from tests.sources.world import StepClock

TOKEN = "AAAAsecret-bearer%2Ftoken"
PROBLEM = "https://api.x.com/2/problems/"


def iso(instant_ns: int) -> str:
    """A time as X writes it, with milliseconds."""
    moment = datetime.fromtimestamp(instant_ns // SECOND_NS, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{instant_ns % SECOND_NS // MILLISECOND_NS:03d}Z"


@dataclass
class XWorld:
    """The server's state; `handler` goes to `tests.sources.server.serving`.

    Attributes
    ----------
    posts : dict
        All there are, by identity; `gone` and `protected` name some of them.
    lines : asyncio.Queue
        What the open stream sends: a post, bytes as they are, or "close", "abort".
    faults : deque of callable
        Each takes the place of one answer, whatever was asked; `faults_at` of one to a path.
    billed : Counter
        Posts sent, by the kind of question.
    """

    clock: StepClock = field(default_factory=StepClock)
    posts: dict[str, dict[str, Any]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    protected: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    rules: list[dict[str, str]] = field(default_factory=list)
    lines: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    faults: deque[Callable[[web.Request], Any]] = field(default_factory=deque)
    faults_at: dict[str, deque[Callable[[web.Request], Any]]] = field(default_factory=dict)
    billed: Counter[str] = field(default_factory=Counter)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    jobs: dict[str, list[str]] = field(default_factory=dict)
    job_states: deque[str] = field(default_factory=deque)
    no_jobs: bool = False
    polls: int = 0
    streams: int = 0
    open_streams: int = 0
    keep_alive_s: float = 0.02
    page: int = 100
    _number: int = 0

    def post(self, text: str, *, author: str = "7", at_ns: int = 0, **more: Any) -> dict[str, Any]:
        """A new post, written now or at a time; it isn't sent by itself."""
        self._number += 1
        at_ns = at_ns or self.clock.now_ns()
        identity = str(id_at(at_ns) + self._number)
        row = {
            "id": identity, "text": text, "created_at": iso(at_ns), "author_id": author,
            "edit_history_tweet_ids": [identity], **more,
        }  # fmt: skip
        self.posts[row["id"]] = row
        return row

    def edit(self, first: dict[str, Any], text: str) -> dict[str, Any]:
        """A newer version of a post: it has an identity of its own."""
        row = self.post(text, author=first["author_id"])
        row["edit_history_tweet_ids"] = [*first["edit_history_tweet_ids"], row["id"]]
        for identity in row["edit_history_tweet_ids"][:-1]:
            self.posts[identity]["edit_history_tweet_ids"] = row["edit_history_tweet_ids"]
        return row

    def send(self, *rows: Any) -> None:
        """Have the open stream, or the next one, send posts."""
        for row in rows:
            self.lines.put_nowait(row)

    def tag(self) -> str:
        """The tag of a rule of ours that X has."""
        return next(rule["tag"] for rule in self.rules if rule.get("tag", "").startswith("tidegate:"))

    def line_of(self, row: dict[str, Any], tags: list[str] | None = None) -> bytes:
        """A post as the stream sends it."""
        rules = [{"id": str(number), "tag": tag} for number, tag in enumerate([self.tag()] if tags is None else tags)]
        body = {"data": row, "includes": self._users([row]), "matching_rules": rules}
        return json.dumps(body).encode() + b"\r\n"

    async def handler(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        self.asked.append((request.path, dict(request.query)))
        if request.path.startswith("/storage/"):
            return await self._storage(request)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return reply({"title": "Unauthorized", "detail": "Unauthorized", "status": 401}, 401)
        if self.faults:
            answer: web.StreamResponse = await self.faults.popleft()(request)
            return answer
        if self.faults_at.get(request.path):
            spoilt: web.StreamResponse = await self.faults_at[request.path].popleft()(request)
            return spoilt
        kinds: dict[str, Callable[[web.Request], Any]] = {
            "/2/tweets/search/stream": self._stream,
            "/2/tweets/search/stream/rules": self._rules,
            "/2/tweets/search/recent": self._search,
            "/2/tweets": self._look_up,
            "/2/compliance/jobs": self._new_job,
        }
        found: web.StreamResponse = await kinds.get(request.path, self._old_job)(request)
        return found

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if self.open_streams:
            return reply({"title": "ConnectionException", "connection_issue": "TooManyConnections"}, 429)
        self.streams += 1
        self.open_streams += 1
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            await answer.prepare(request)
            with suppress(ConnectionError):
                await self._send(request, answer)
        finally:
            self.open_streams -= 1
        return answer

    async def _send(self, request: web.Request, answer: web.StreamResponse) -> None:
        while True:
            try:
                row = await asyncio.wait_for(self.lines.get(), self.keep_alive_s)
            except TimeoutError:
                await answer.write(b"\r\n")
                continue
            if row == "close":
                return
            if row == "abort":
                assert request.transport is not None
                request.transport.abort()
                return
            raw = row if isinstance(row, bytes) else self.line_of(row)
            self.billed["stream"] += raw.startswith(b'{"data"')
            await answer.write(raw)

    async def _rules(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return reply({"data": self.rules, "meta": {"sent": iso(self.clock.ns), "result_count": len(self.rules)}})
        body = await request.json()
        errors, added = [], []
        for rule in body.get("add", []):
            if any(known["value"] == rule["value"] for known in self.rules):
                errors.append({"title": "DuplicateRule", "value": rule["value"], "type": f"{PROBLEM}duplicate-rules"})
                continue
            self._number += 1
            added.append({"id": str(10**18 + self._number), **rule})
        self.rules += added
        gone = set(body.get("delete", {}).get("ids", []))
        self.rules = [rule for rule in self.rules if rule["id"] not in gone]
        summary = {"created": len(added), "not_created": len(errors)}
        found: dict[str, Any] = {"data": added, "meta": {"sent": iso(self.clock.ns), "summary": summary}}
        return reply({**found, "errors": errors} if errors else found, 201 if added else 200)

    async def _search(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        assert 10 <= int(query["max_results"]) <= 100 and len(query["query"]) <= 512
        rows = [row for row in self._there() if self._in_bounds(row, query)]
        rows = sorted(rows, key=lambda row: -int(row["id"]))
        return self._paged(rows, query, min(int(query["max_results"]), self.page))

    def _in_bounds(self, row: dict[str, Any], query: Any) -> bool:
        at_ns, identity = parse_time(row["created_at"]), int(row["id"])
        return (
            identity > int(query.get("since_id", 0))
            and identity < int(query.get("until_id", 2**63))
            and at_ns >= parse_time(query.get("start_time", "2009-01-01"))
            and at_ns < parse_time(query.get("end_time", "2200-01-01"))
        )

    def _paged(self, rows: list[dict[str, Any]], query: Any, size: int) -> web.StreamResponse:
        at = int(query.get("next_token", "t0")[1:])
        part = rows[at : at + size]
        self.billed["search"] += len(part)
        meta: dict[str, Any] = {"result_count": len(part)}
        if part:
            meta |= {"newest_id": part[0]["id"], "oldest_id": part[-1]["id"]}
        if at + size < len(rows):
            meta["next_token"] = f"t{at + size}"
        return reply({"data": part, "includes": self._users(part), "meta": meta} if part else {"meta": meta})

    async def _look_up(self, request: web.Request) -> web.StreamResponse:
        ids = request.query["ids"].split(",")
        assert 1 <= len(ids) <= 100
        there = {row["id"]: row for row in self._there()}
        rows = [there[identity] for identity in ids if identity in there and identity not in self.silent]
        self.billed["look-up"] += len(rows)
        errors = [
            {
                "resource_type": "tweet", "resource_id": identity, "value": identity, "parameter": "ids",
                "type": PROBLEM + ("resource-not-found" if identity in self.gone else "not-authorized-for-resource"),
                "title": "Not Found Error" if identity in self.gone else "Authorization Error", "detail": "gone",
            }
            for identity in ids
            if identity not in there and identity not in self.silent
        ]  # fmt: skip
        body: dict[str, Any] = {"data": rows} if rows else {}
        if "expansions" in request.query and rows:
            body["includes"] = self._users(rows)
        return reply({**body, "errors": errors} if errors else body)

    async def _new_job(self, request: web.Request) -> web.StreamResponse:
        assert (await request.json())["type"] == "tweets"
        if self.no_jobs:
            return reply({"title": "Forbidden", "detail": "not in your plan", "status": 403}, 403)
        identity = str(1446017776678801409 + len(self.jobs))
        self.jobs[identity] = []
        return reply(self._job_of(request, identity, "created"))

    async def _old_job(self, request: web.Request) -> web.StreamResponse:
        identity = request.path.removeprefix("/2/compliance/jobs/")
        self.polls += 1
        return reply(self._job_of(request, identity, self.job_states.popleft() if self.job_states else "complete"))

    def _job_of(self, request: web.Request, identity: str, status: str) -> dict[str, Any]:
        origin = f"{request.url.origin()}/storage/{identity}"
        addresses = {name: f"{origin}/{name}?X-Goog-Signature=5ec7e7%2Fa" for name in ("upload_url", "download_url")}
        return {"data": {"id": identity, "type": "tweets", "status": status, "resumable": False, **addresses}}

    async def _storage(self, request: web.Request) -> web.StreamResponse:
        assert "Authorization" not in request.headers
        assert request.raw_path.endswith("?X-Goog-Signature=5ec7e7%2Fa")
        _, _, identity, kind = request.path.split("/")
        if kind == "upload_url":
            assert (request.method, request.headers["Content-Type"]) == ("PUT", "text/plain")
            self.jobs[identity] = (await request.text()).split()
            return web.Response()
        rows = [
            {"id": key, "action": "delete", "reason": "deleted" if key in self.gone else "protected"}
            for key in self.jobs[identity]
            if key in self.gone | self.protected
        ]
        moved = [{"id": key, "action": "delete", "reason": "scrub_geo"} for key in self.jobs[identity][:1]]
        return web.Response(text="".join(json.dumps(row) + "\n" for row in [*moved, *rows]))

    def _there(self) -> list[dict[str, Any]]:
        return [row for row in self.posts.values() if row["id"] not in self.gone | self.protected]

    def _users(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        found = {row["author_id"] for row in rows if "author_id" in row}
        users = [
            {
                "id": author, "name": f"Name {author}", "username": f"user_{author}",
                "public_metrics": {"followers_count": 1500, "following_count": 1, "tweet_count": 9, "listed_count": 0},
            }
            for author in sorted(found)
        ]  # fmt: skip
        return {"users": users}


def refuse(status: int, headers: dict[str, str] | None = None, body: Any = None, page: bool = False) -> Any:
    """A fault: an error status, as X's problem or as a page for people."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if page:
            return web.Response(status=status, headers=headers, text="<!DOCTYPE html><html>no</html>")
        said = {"title": "Problem", "detail": "as the test wants it", "status": status} if body is None else body
        return reply(said, status, headers)

    return answer


def raw(content: bytes, *, then: str = "end") -> Any:
    """A fault: a body as it is, and what comes behind it: "end", "abort", or "slow" for single spaces without end."""

    async def answer(request: web.Request) -> web.StreamResponse:
        told = web.StreamResponse(headers={"Content-Type": "application/json"})
        if then != "end":
            told.content_length = 10**6
        await told.prepare(request)
        await told.write(content)
        with suppress(ConnectionError):
            while then == "slow":
                await told.write(b" ")
                await asyncio.sleep(0.01)
        if then == "abort":
            assert request.transport is not None
            request.transport.abort()
        return told

    return answer
