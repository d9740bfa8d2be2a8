"""A vendor of posts as one may be configured: an envelope, pages by a mark, milliseconds, a key in a header."""

from aiohttp import web

from data.feed import Item, Written
from data.times import HOUR_NS
from tests.sources.server import reply
from tests.sources.world import NOW_NS, World

FIRST_NS = NOW_NS - 60 * HOUR_NS
PAGE = 4
KEY = "k3y-of-the-vendor"


def make() -> World:
    """Sixty hourly posts; live, the newest first; with from and to, a span with the oldest first."""
    posts = [FIRST_NS + at * HOUR_NS for at in range(58)]

    def row(at: int) -> dict[str, object]:
        return {
            "id": 1000 + at,
            "published": posts[at] // 1_000_000,
            "body": {"headline": f"Bitcoin, part {at}", "text": "It goes on."},
            "by": {"name": "desk", "followers": 120},
        }

    async def handler(request: web.Request) -> web.Response:
        if request.headers.get("X-Api-Key") != KEY:
            return reply({"error": "who are you?"}, status=401)
        first, last = (int(request.query.get(name, 0)) * 1_000_000 for name in ("from", "to"))
        places = [at for at, when in enumerate(posts) if when >= first and (not last or when < last)]
        if not last:
            places = places[::-1][:6]
        at = int(request.query.get("mark", "0"))
        more = str(at + PAGE) if at + PAGE < len(places) else None
        rows = [row(place) for place in places[at : at + PAGE]]
        return reply({"result": {"posts": rows}, "paging": {"next": more}})

    async def drifted(request: web.Request) -> web.Response:
        rows = [{"uid": 1, "when": "today"}, {"id": 7, "published": "soon"}]
        return reply({"result": {"posts": rows}, "paging": {}})

    def publish() -> None:
        posts.append(posts[-1] + HOUR_NS // 60)

    def written(places: range) -> list[Item]:
        return [
            Written(str(1000 + at), posts[at], f"Bitcoin, part {at}\nIt goes on.", author="desk", followers=120.0)
            for at in places
        ]

    return World(
        name="http_json",
        handler=handler,
        options=lambda url: {
            "name": "vendor", "kind": "posts", "url": f"{url}/v1/posts", "every": 1.0, "per_minute": 6000.0,
            "headers": {"X-Api-Key": "{key}"}, "secrets": {"key": "env:VENDOR"}, "items": "result.posts",
            "key": "id", "time": "published", "unit": "ms", "text": ["body.headline", "body.text"],
            "author": "by.name", "followers": "by.followers", "next_path": "paging.next", "next_param": "mark",
            "since_param": "from", "until_param": "to", "since_format": "ms", "window": "12h", "lag": "5m",
        },
        publish=publish,
        expected=lambda: written(range(52, len(posts))),
        drifted=drifted,
        span=(FIRST_NS + 5 * HOUR_NS, FIRST_NS + 40 * HOUR_NS),
        history=lambda: written(range(5, 40)),
        secrets={"env:VENDOR": KEY},
    )  # fmt: skip
