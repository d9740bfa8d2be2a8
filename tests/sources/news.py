"""A news site, as RSS 2.0 is written: the newest item first, conditional questions answered, a summary in HTML."""

from dataclasses import dataclass, field
from email.utils import formatdate
from html import escape

from aiohttp import web

from data.feed import Item, Written
from data.times import HOUR_NS, SECOND_NS
from tests.sources.world import NOW_NS, World

FIRST_NS = NOW_NS - 48 * HOUR_NS


@dataclass
class Story:
    """An item of the local site; `date` is written into the document as it is, None leaves it out."""

    key: str
    title: str
    summary: str = ""
    date: str | None = None
    link: str = ""

    def rss(self) -> str:
        """The item as RSS; what stands in HTML is escaped once more, as sites do."""
        parts = [f"<title>{escape(self.title)}</title>", f"<description>{escape(self.summary)}</description>"]
        parts += [f'<guid isPermaLink="false">{escape(self.key)}</guid>'] if self.key else []
        parts += [f"<link>{escape(self.link)}</link>"] if self.link else []
        parts += [f"<pubDate>{self.date}</pubDate>"] if self.date is not None else []
        return f"<item>{''.join(parts)}</item>"


@dataclass
class Site:
    """A site of stories; `body` replaces the document when a test wants a bad one.

    Attributes
    ----------
    asked : list of dict
        Headers of the questions.
    """

    stories: list[Story] = field(default_factory=list)
    body: bytes | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)

    def document(self) -> bytes:
        """The document as it is served."""
        items = "".join(story.rss() for story in reversed(self.stories))
        head = '<?xml version="1.0" encoding="UTF-8"?>\n<rss version="2.0"><channel><title>Local news</title>'
        return f"{head}<link>https://news.test/</link>{items}</channel></rss>".encode()

    async def answer(self, request: web.Request) -> web.Response:
        """One question; 304 when nothing changed since the tag that was sent."""
        self.asked.append({name.lower(): value for name, value in request.headers.items()})
        if self.status != 200:
            return web.Response(status=self.status, headers=self.headers)
        body = self.document() if self.body is None else self.body
        tag = f'"{hash(body):x}"'
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers={"ETag": tag})
        return web.Response(body=body, content_type="application/rss+xml", headers={"ETag": tag, **self.headers})


def story(number: int, event_ns: int) -> Story:
    """A story of its own, dated."""
    return Story(
        key=f"story-{number}",
        title=f"Coin {number} moves & shakes",
        summary=f"<p>The <b>{number}.</b> story of the day.</p>",
        date=formatdate(event_ns / SECOND_NS, usegmt=True),
        link=f"https://news.test/{number}?utm_source=rss&page={number}",
    )


def make() -> World:
    """A site of six stories; each `publish` adds one."""
    times = [FIRST_NS + at * HOUR_NS for at in range(6)]
    site = Site([story(at, event_ns) for at, event_ns in enumerate(times)])

    async def drifted(request: web.Request) -> web.Response:
        text = site.document().decode().replace("<item>", "<story>").replace("</item>", "</story>")
        return web.Response(text=text, content_type="application/rss+xml")

    def publish() -> None:
        times.append(times[-1] + HOUR_NS)
        site.stories.append(story(len(times) - 1, times[-1]))

    def expected() -> list[Item]:
        return [
            Written(
                f"story-{at}", event_ns, f"Coin {at} moves & shakes\nThe {at}. story of the day.",
                url=f"https://news.test/{at}?page={at}",
            )
            for at, event_ns in enumerate(times)
        ]  # fmt: skip

    return World(
        name="news",
        handler=site.answer,
        options=lambda url: {"sites": ["local"], "urls": {"local": f"{url}/rss"}, "every": 30.0},
        publish=publish,
        expected=expected,
        drifted=drifted,
    )
