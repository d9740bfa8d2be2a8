"""Reddit's API on loopback, as its documentation shows it: tokens, listings in pages, things looked up by name."""

import base64
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from data.times import SECOND_NS
from tests.sources.server import reply
from tests.sources.world import NOW_NS

ID, SECRET = "id-of-the-application", "s3cr3t-of-the-application"


class Subreddits:
    """Submissions and comments of one subreddit; `left` is what stands in the headers of the rate limit."""

    def __init__(self) -> None:
        self.things: dict[str, dict[str, Any]] = {}
        self.hidden: set[str] = set()
        self._ages: dict[str, int] = {}
        self.tokens: list[str] = []
        self.left: int | None = 590
        self.good_id = True

    def submit(self, name: str, title: str, text: str = "", *, age_s: int = 100, **more: Any) -> str:
        """A submission; its full name."""
        told = {
            "title": title,
            "selftext": text,
            "permalink": f"/r/Bitcoin/comments/{name}/x/",
            "removed_by_category": None,
        }
        return self._add("t3", name, told, age_s, more)

    def comment(self, name: str, text: str, *, age_s: int = 100, **more: Any) -> str:
        """A comment; its full name."""
        told = {"body": text, "permalink": f"/r/Bitcoin/comments/a/x/{name}/", "link_id": "t3_a", "parent_id": "t3_a"}
        return self._add("t1", name, told, age_s, more)

    def _add(self, kind: str, name: str, told: dict[str, Any], age_s: int, more: dict[str, Any]) -> str:
        whole = f"{kind}_{name}"
        self._ages[whole] = age_s
        self.things[whole] = {
            "name": whole, "id": name, "author": "somebody", "created_utc": float(NOW_NS // SECOND_NS - age_s),
            "edited": False, "subreddit": "Bitcoin", **told, **more,
        }  # fmt: skip
        return whole

    async def handler(self, request: web.Request) -> web.Response:
        """A healthy answer."""
        if request.path == "/api/v1/access_token":
            return await self._token(request)
        if request.headers.get("Authorization") not in [f"bearer {token}" for token in self.tokens]:
            return reply({"message": "Unauthorized", "error": 401}, status=401)
        if request.path == "/r/Bitcoin/new":
            return self._listing(request, "t3")
        if request.path == "/r/Bitcoin/comments/":
            return self._listing(request, "t1")
        if request.path == "/api/info/":
            names = [name for name in request.query["id"].split(",") if name in self.things]
            return self._told([self.things[name] for name in names], None)
        return reply({"message": "Not Found", "error": 404}, status=404)

    async def _token(self, request: web.Request) -> web.Response:
        assert dict(parse_qsl(await request.text())) == {"grant_type": "client_credentials"}
        wanted = "Basic " + base64.b64encode(f"{ID}:{SECRET}".encode()).decode()
        if request.headers["Authorization"] != wanted or not self.good_id:
            return reply({"message": "Unauthorized", "error": 401}, status=401)
        self.tokens = [f"token{len(self.tokens)}-of-reddit"]
        return reply({"access_token": self.tokens[0], "token_type": "bearer", "expires_in": 86400, "scope": "*"})

    def _listing(self, request: web.Request, kind: str) -> web.Response:
        shown = {
            name: thing for name, thing in self.things.items() if name.startswith(kind) and name not in self.hidden
        }
        found = [shown[name] for name in sorted(shown, key=self._ages.__getitem__)]
        names = [thing["name"] for thing in found]
        at = names.index(request.query["after"]) + 1 if "after" in request.query else 0
        page = found[at : at + min(int(request.query["limit"]), 100)]
        return self._told(page, page[-1]["name"] if at + len(page) < len(found) else None)

    def _told(self, things: list[dict[str, Any]], after: str | None) -> web.Response:
        children = [{"kind": thing["name"][:2], "data": thing} for thing in things]
        limit = {"X-Ratelimit-Remaining": f"{self.left}.0", "X-Ratelimit-Used": "10", "X-Ratelimit-Reset": "300"}
        body = {"kind": "Listing", "data": {"after": after, "before": None, "dist": len(things), "children": children}}
        return reply(body, headers=limit if self.left is not None else None)
