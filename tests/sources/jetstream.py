"""Jetstream on loopback: events as its documentation shows them, kept for a while and played again from a cursor."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection

from tests.sources.world import NOW_NS

START_US = NOW_NS // 1000
AUTHOR = "did:plc:abcdefghijklmnopqrstuvwx"


def moment(time_us: int) -> str:
    """A time as Bluesky's programs write it."""
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Jetstream:
    """The network's events; `floor_us` is the oldest time that a cursor can go back to."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.floor_us, self.time_us = 0, START_US
        self._times: list[int] = []
        self._more = asyncio.Event()

    async def talk(self, connection: ServerConnection) -> None:
        """One subscriber: what there is from its cursor on (nothing old without one), then what comes."""
        assert connection.request is not None
        asked = parse_qs(urlsplit(connection.request.path).query)
        assert asked["wantedCollections"] == ["app.bsky.feed.post"]
        cursor_us = int(asked["cursor"][0]) if "cursor" in asked else None
        at = len(self.events) if cursor_us is None else 0
        while True:
            while at < len(self.events):
                event = self.events[at]
                at += 1
                if cursor_us is None or self._times[at - 1] >= max(cursor_us, self.floor_us):
                    await connection.send(json.dumps(event))
            self._more.clear()
            waits = [asyncio.create_task(each) for each in (self._more.wait(), connection.wait_closed())]
            _, left = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for task in left:
                task.cancel()
            if waits[1].done():
                return

    def happen(self, event: dict[str, Any]) -> None:
        """Let the network say something."""
        self.events.append(event)
        self._times.append(self.time_us)
        self._more.set()

    def commit(
        self,
        name: str,
        text: str | None,
        *,
        operation: str = "create",
        langs: list[str] | None = None,
        created: str | None = None,
        author: str = AUTHOR,
        **more: Any,
    ) -> str:
        """A post that is written, edited or deleted, a second after what happened before; its key."""
        self.time_us += 1_000_000
        commit: dict[str, Any] = {
            "rev": f"3k{len(self.events):011d}", "operation": operation, "collection": "app.bsky.feed.post",
            "rkey": name,
        }  # fmt: skip
        if text is not None:
            told = moment(self.time_us - 400_000) if created is None else created
            record = {"$type": "app.bsky.feed.post", "createdAt": told, "text": text, **more}
            commit |= {"record": record | ({"langs": langs} if langs is not None else {}), "cid": "bafyreib2rxk3"}
        self.happen({"did": author, "time_us": self.time_us, "kind": "commit", "commit": commit})
        return f"at://{author}/app.bsky.feed.post/{name}"

    def account(self, author: str, status: str | None) -> None:
        """An account is opened again (None), or gone."""
        self.time_us += 1_000_000
        state: dict[str, Any] = {"active": status is None, "did": author, "seq": 7, "time": moment(self.time_us)}
        state |= {"status": status} if status else {}
        self.happen({"did": author, "time_us": self.time_us, "kind": "account", "account": state})
