"""News documents that nobody would write: whatever the bytes are, they are read or refused by name."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from data.clean import CHARS_MAX, clean_address, clean_name, clean_text
from data.feed import FeedError
from data.intake_feed import FIRST_NS
from data.news_document import ENTRIES_MAX, KEY_MAX, Entry, clean_link, parse_date, read_document
from data.sources.news import _to_item
from tests.sources.news import Site, Story, story
from tests.sources.world import NOW_NS

WHOLE = Site([story(1, NOW_NS), Story("b", "<b>A</b> & B", "x &lt; y", "2025-10-08T00:00:00Z", "/b?utm_source=x")])
ATOM = (
    '<feed xmlns="http://www.w3.org/2005/Atom" xmlns:dc="http://purl.org/dc/elements/1.1/"><title>x</title>'
    '<entry><id>urn:1</id><title type="html">&lt;i&gt;A&lt;/i&gt;</title><updated>2025-10-08T00:00:00Z</updated>'
    '<link href="https://a.test/1"/><summary type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml">S<br/></div></summary>'
    '<author><name>Ann</name></author></entry></feed>'
)  # fmt: skip
DOCUMENTS = (WHOLE.document(), ATOM.encode())
MARKS = (
    *("<", ">", "&", ";", "]]>", "<![CDATA[", "<!--", "-->", "<?", "?>", "<!DOCTYPE x>", "<!ENTITY a 'b'>", "&#0;"),
    *("&#x1F600;", "&#99999999;", "</item>", "<item>", "<entry/>", "</rss>", "<rss>", "<title>", "</title>", "<link/>"),
    *("<guid>", "xml:base='", "xmlns='x'", "\x00", "\ufeff", "\u202e", "<a href='", '"', "<dc:description/>", "=", "%"),
    *("<content type='application/octet-stream'>", "<pubDate>1</pubDate>", "<itunes:duration>"),
    *("<georss:point>1 x</georss:point>", "<media:content url='http://['/>"),
)
CHARSETS = (
    *("", "text/xml; charset=utf-16", "text/xml; charset=shift_jis", "text/xml; charset=nonsense"),
    'x; charset="latin-1"',
)


@st.composite
def mutated(draw: Any) -> bytes:
    """A sound document, in which pieces were put, taken or doubled."""
    body = bytearray(draw(st.sampled_from(DOCUMENTS)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(body)))
        piece = draw(st.one_of(st.sampled_from(MARKS).map(str.encode), st.binary(max_size=6)))
        until = min(at + draw(st.sampled_from((0, 0, 1, 7, 60, 2000))), len(body))
        body[at:until] = piece * draw(st.sampled_from((1, 1, 2, 300)))
    return bytes(body)


def check(body: bytes, kind: str) -> None:
    """Read, or refuse by name; what is read is plain, bounded text that can be handed over."""
    try:
        entries = read_document(body, kind, "https://news.test/rss", summary_max=200)
    except FeedError as error:
        assert not error.final and str(error).startswith("https://news.test/rss: ") and "\n" not in str(error)
        return
    assert len(entries) <= ENTRIES_MAX
    for entry in entries:
        assert isinstance(entry, Entry) and len(entry.summary) <= 200
        assert clean_text(entry.title) == entry.title and "\n" not in entry.title
        assert clean_name(entry.key) == entry.key and len(entry.key) <= KEY_MAX + 17
        assert clean_address(entry.url) == entry.url
        item, key, what = _to_item(entry, NOW_NS, {})
        assert len(key) == len(what) == 16
        date_ns = getattr(item, "event_ns", NOW_NS)
        assert FIRST_NS <= date_ns <= NOW_NS
        assert len(getattr(item, "text", "")) <= CHARS_MAX


@settings(max_examples=150, deadline=None, derandomize=True)
@given(body=st.binary(max_size=2_000), kind=st.sampled_from(CHARSETS))
def test_any_bytes(body: bytes, kind: str) -> None:
    check(body, kind)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(inside=st.binary(max_size=800), kind=st.sampled_from(CHARSETS))
def test_any_bytes_inside_a_feed(inside: bytes, kind: str) -> None:
    check(b"<rss><channel><item>" + inside + b"</item></channel></rss>", kind)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(body=mutated(), kind=st.sampled_from(CHARSETS))
def test_mutated_documents(body: bytes, kind: str) -> None:
    check(body, kind)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(parts=st.lists(st.one_of(st.sampled_from(MARKS), st.text(max_size=8)), max_size=40))
def test_marks_in_any_order(parts: list[str]) -> None:
    check(f"<feed><entry>{''.join(parts)}</entry></feed>".encode("utf-8", "replace"), "")


@settings(max_examples=100, deadline=None, derandomize=True)
@given(cut=st.integers(0, len(DOCUMENTS[0]) - 8))
def test_a_document_that_is_cut_anywhere_is_refused(cut: int) -> None:
    try:
        read_document(DOCUMENTS[0][:cut], "", "https://news.test/rss", summary_max=200)
    except FeedError:
        return
    raise AssertionError(f"cut at {cut}, and read")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(text=st.text(max_size=60))
def test_any_text_as_a_date_or_a_link(text: str) -> None:
    assert parse_date(text) >= 0
    link = clean_link(text, "https://news.test/rss")
    assert link == clean_address(link) and clean_link(link) == link
