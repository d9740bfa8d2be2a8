"""News documents: what is untidy is read, what is hostile or cut off is refused by name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from data.feed import FeedError
from data.news_document import Entry, clean_link, parse_date, read_document
from data.times import parse_time

RSS = '<rss version="2.0"><channel><title>x</title>{}</channel></rss>'
ITEM = "<item><title>{}</title><guid>g</guid></item>"


def read(text: str | bytes, kind: str = "application/rss+xml") -> Sequence[Entry]:
    """Entries of a document."""
    body = text if isinstance(text, bytes) else text.encode()
    return read_document(body, kind, "https://news.test/rss", summary_max=500)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        (RSS.format(ITEM.format("A & B")), "A & B"),
        (RSS.format(ITEM.format("A&nbsp;B &euro;5")), "A B \u20ac5"),
        (RSS.format(ITEM.format("A\x01B\x00")), "AB"),
        (RSS.format(ITEM.format("&lt;b&gt;A&lt;/b&gt; &amp;amp; B")), "A & B"),
        (RSS.format(ITEM.format("<![CDATA[<!DOCTYPE html> & <b>C</b>]]>")), "<!DOCTYPE html> & C"),
        (RSS.format(ITEM.format("A") + "<br>"), "A"),
        ("\n\n" + RSS.format(ITEM.format("A")) + "<script>x()</script>", "A"),
        ("<!-- served by a cache -->" + RSS.format(ITEM.format("A")), "A"),
        ("<?xml version='1.0' encoding='utf-8'?>" + RSS.format(ITEM.format("\u202eA")), "A"),
    ],
)
def test_what_is_merely_untidy_is_read(text: str, title: str) -> None:
    assert [entry.title for entry in read(text)] == [title]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig", "windows-1252", "iso-8859-15", "utf-8"])
def test_any_common_encoding_is_read(encoding: str) -> None:
    text = RSS.format(ITEM.format("Caf\u00e9 \u20ac"))
    told = f'<?xml version="1.0" encoding="{encoding}"?>' if encoding[0] in "wi" else ""
    assert [entry.title for entry in read((told + text).encode(encoding))] == ["Caf\u00e9 \u20ac"]


def test_an_undeclared_encoding_is_guessed() -> None:
    assert read(RSS.format(ITEM.format("Caf\u00e9")).encode("windows-1252"))[0].title == "Caf\u00e9"
    assert read(RSS.format(ITEM.format("\u0416")).encode("koi8-r"), "text/xml; charset=KOI8-R")[0].title == "\u0416"


BOMB = '<!DOCTYPE rss [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (BOMB + RSS.format(ITEM.format("&b;")), "types or entities"),
        ((BOMB + RSS.format(ITEM.format("&b;"))).encode("utf-16"), "types or entities"),
        ((BOMB + RSS.format(ITEM.format("&b;"))).encode("utf-32"), "types or entities"),
        ("<!-- <![CDATA[ -->" + BOMB + RSS.format(ITEM.format("&b;]]>")), "types or entities"),
        ('<!DOCTYPE rss SYSTEM "file:///etc/passwd">' + RSS.format(""), "types or entities"),
        (RSS.format("") + BOMB, "types or entities"),
        (RSS.format(ITEM.format("A"))[:-8], "cut off"),
        (RSS.format(ITEM.format("<![CDATA[ </rss> "))[:-40], "cut off"),
        (RSS.format(ITEM.format("<!-- </rss> ")), "cut off"),
        ("<!doctype html><html><body>Just a moment</body></html>", "a page for people"),
        ('{"items": []}', "neither RSS nor Atom"),
        ("https://127.0.0.1/feed", "neither RSS nor Atom"),
        (str(Path(__file__)), "neither RSS nor Atom"),
        (" \n", "empty"),
        ("<opml></opml>", "neither RSS nor Atom"),
        (RSS.format("<a>" * 30_000), "more tags"),
        (RSS.format("<item/>" * 1_200), "more than 1,000 entries"),
        (RSS.format("&amp;" * 450_000), "references"),
        (RSS.format("</a>" + " " * 600_000), "not well-formed"),
        (RSS.format("</a>" + "&amp;" * 20_000), "not well-formed"),
        (RSS.format(" " * 4_300_000), "bytes"),
        (RSS.format("<!--" * 200_000), "cut off"),
    ],
)
def test_what_must_not_be_read_is_refused_by_name(body: str | bytes, said: str) -> None:
    with pytest.raises(FeedError, match=said):
        read(body)


def test_a_file_named_like_the_document_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """feedparser opens a file of that name when it is given bytes as they are."""
    monkeypatch.chdir(tmp_path)
    text = "<rss></rss>".replace("/", "\u2215")
    (tmp_path / text).write_text(RSS.format(ITEM.format("from the disk")))
    with pytest.raises(FeedError):
        read(text)


@pytest.mark.parametrize(
    ("link", "kept"),
    [
        ("https://a.test/x?utm_source=rss&id=7&UTM_Medium=m&fbclid=1#utm_content", "https://a.test/x?id=7"),
        ("https://a.test/x?a=%20b&&c#part", "https://a.test/x?a=%20b&c#part"),
        ("/x?gclid=1", "https://news.test/x"),
        ("javascript:alert(1)", ""),
        ("https://[broken/x", ""),
        (7, ""),
    ],
)
def test_links_lose_what_tracks_and_nothing_else(link: Any, kept: str) -> None:
    assert clean_link(link, "https://news.test/rss") == kept


@pytest.mark.parametrize(
    ("text", "stamp"),
    [
        ("Wed, 08 Oct 2025 10:00:00 +0200", "2025-10-08T08:00:00Z"),
        ("Wed, 08 Oct 2025 10:00:00 EST", "2025-10-08T15:00:00Z"),
        ("08 Oct 2025 10:00", "2025-10-08T10:00:00Z"),
        ("2025-10-08T10:00:00.25Z", "2025-10-08T10:00:00.250Z"),
        ("2025-10-08", "2025-10-08"),
        ("--10-08", ""),
        ("0001-01-01T00:00:00+14:00", ""),
        ("Wed, 08 Oct 99999 10:00:00", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_dates_are_read_or_not_but_never_filled_in(text: Any, stamp: str) -> None:
    assert parse_date(text) == (parse_time(stamp) if stamp else 0)


REAL = Path(__file__).parents[2].parent / "shared" / "data" / "fixtures" / "rss"


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real files in {REAL}")
@pytest.mark.parametrize(
    ("name", "first"), [("coindesk", "2026-09-25T14:41:53Z"), ("cointelegraph", "2025-12-12T16:57:28Z")]
)
def test_recorded_documents_are_read_whole(name: str, first: str) -> None:
    entries = read((REAL / f"{name}.xml").read_bytes())
    assert len(entries) == 3 and entries[0].published_ns == parse_time(first)
    for entry in entries:
        assert entry.key and entry.title and entry.author and entry.published_ns
        assert len(entry.summary) > 40 and "<" not in entry.summary
        assert (
            entry.url.startswith(f"https://{'www.' if name == 'coindesk' else ''}{name}.com/")
            and "utm" not in entry.url
        )
