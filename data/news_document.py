"""A news document (RSS or Atom) of bytes from outside, read as entries: bounded, without entities, or refused by name.

The law of this file: feedparser only ever sees UTF-8 text whose root is a feed's, that defines no types or entities,
has its end, and holds a bounded number of marks. It is given bytes in memory: a text that looks like an address or a
file name would make it fetch or open that. What is untidy is read all the same: a bare `&` and names of HTML's entities
are mended, and what then still isn't well-formed goes to feedparser's forgiving parser, which is slow and sees small
documents only. What is cut off is refused: its last entry would be half a text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from html.entities import html5
from io import BytesIO
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from data.clean import ADDRESS_MAX, clean_address, clean_name, clean_text
from data.feed import FeedError
from data.times import MICROSECOND_NS

DOCUMENT_MAX: Final = 4 * 1024 * 1024
ENTRIES_MAX: Final = 1_000
MARKS_MAX: Final = 20_000
"""Tags of a document; a feed of a hundred entries has some three thousand."""

REFERENCES_MAX: Final = 400_000
UNTIDY_MAX: Final = 512 * 1024
UNTIDY_REFERENCES_MAX: Final = 10_000

KEY_MAX: Final = 200
TITLE_MAX: Final = 1_000
ROOTS: Final = frozenset({"rss", "feed", "rdf"})
CHARSETS: Final = frozenset(
    {
        *("utf-8", "us-ascii", "ascii", "iso-8859-1", "iso-8859-2", "iso-8859-15", "latin-1", "windows-1250"),
        *("windows-1251", "windows-1252", "cp1251", "cp1252", "koi8-r", "shift_jis", "euc-jp", "euc-kr", "gb2312"),
        *("gbk", "gb18030", "big5"),
    }
)

_MARKS: Final = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
)
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9_.-]{1,40})["']""")
_IN_HEADER = re.compile(r"""charset\s*=\s*["']?([A-Za-z0-9_.-]{1,40})""", re.IGNORECASE)
_DECLARATION = re.compile(r"^\s*<\?xml\b[^>]*\?>")
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_APART = (("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>"))
_APART_BEGINS = re.compile(r"<!--|<!\[CDATA\[|<\?")
_TYPED = re.compile(r"<!\s*(?:DOCTYPE|ENTITY|ELEMENT|ATTLIST|NOTATION)|<!\[(?!CDATA\[)", re.IGNORECASE)
_ROOT = re.compile(r"\s*<((?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*))")
_REFERENCE = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#\d{1,7}|#x[0-9A-Fa-f]{1,6});)(?:([A-Za-z][A-Za-z0-9]{1,30});)?")
_HOLLOW = re.compile(r"<dc:description\s*(?:/>|>\s*</dc:description\s*>)")
_ENTRY = re.compile(r"<(?:[A-Za-z_][\w.-]*:)?(?:item|entry)[\s>/]", re.IGNORECASE)
_PAGE = re.compile(r"\s*<(?:!doctype\s+html|html)\b", re.IGNORECASE)
_TYPES = "the document defines types or entities; such are not read"
_TRACKING = re.compile(
    r"(?:utm_\w+|fbclid|gclid|dclid|gbraid|wbraid|msclkid|yclid|twclid|ttclid|igshid|mc_cid|mc_eid|_hsenc|_hsmi|mkt_tok"
    r"|vero_id|vero_conv|oly_enc_id|oly_anon_id|wt_mc|cmpid|ncid|s_cid|at_medium|at_campaign|traffic_source)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as plain text; `published_ns` is 0 where the document doesn't say when, `key` empty where it names none.

    `updated_ns` stands for entries that only say when they were last changed.
    """

    key: str
    title: str
    summary: str
    author: str
    url: str
    published_ns: int
    updated_ns: int


def read_document(body: bytes, content_type: str, shown: str, *, summary_max: int) -> list[Entry]:
    """Entries of a document, as they stand in it.

    Parameters
    ----------
    body : bytes
    content_type : str
        As the answer's header says; the byte order mark and the declaration of the document go first.
    shown : str
        The address, for messages and for links that are relative to it.
    summary_max : int
        Characters of a summary that are kept.

    Raises
    ------
    FeedError
        Too large, cut off, no feed, or a document that defines types or entities.
    """
    if len(body) > DOCUMENT_MAX:
        raise FeedError(f"{shown}: more than {DOCUMENT_MAX:,} bytes")
    # CoinDesk writes each description twice, the second time empty, and feedparser takes the last one
    text = _HOLLOW.sub("", _DECLARATION.sub("", _decode(body, content_type), count=1))
    found = _parse(_check(text, shown), shown)
    return [_read(entry, shown, summary_max) for entry in found[:ENTRIES_MAX]]


def clean_link(value: Any, base: str = "") -> str:
    """A link without what only tells the site where its reader came from; empty when it isn't a web address."""
    if not isinstance(value, str):
        return ""
    text = clean_text(value, most=2 * ADDRESS_MAX).replace("\n", "")
    try:
        parts = urlsplit(urljoin(base, text) if base else text)
        kept = [pair for pair in parts.query.split("&") if pair and not _TRACKING.fullmatch(pair.partition("=")[0])]
        fragment = "" if _TRACKING.match(parts.fragment) else parts.fragment
        return clean_address(parts._replace(query="&".join(kept), fragment=fragment).geturl())
    except ValueError:
        return ""


def parse_date(value: Any) -> int:
    """Nanoseconds UTC of a date as RFC 822 or ISO 8601 writes it; 0 for what isn't one. Without a zone it is UTC.

    feedparser's own dates aren't used: it fills in what is missing from the clock.
    """
    if not isinstance(value, str) or len(value) > 100:
        return 0
    text = value.strip()
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError:
        try:
            stamp = parsedate_to_datetime(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            return 0
    try:
        aware = stamp if stamp.tzinfo is not None else stamp.replace(tzinfo=UTC)
        since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    except (OverflowError, ValueError):
        return 0
    return max(since // timedelta(microseconds=1) * MICROSECOND_NS, 0)


def _decode(body: bytes, content_type: str) -> str:
    """The text, by the first of these that holds: byte order mark, declaration, header, UTF-8, Windows-1252."""
    for mark, name in _MARKS:
        if body.startswith(mark):
            return _NO_XML.sub("", body.decode(name, "replace"))
    declared, told = _DECLARED.match(body[:400]), _IN_HEADER.search(content_type)
    names = [found for found in (declared and declared[1].decode("ascii"), told and told[1]) if found]
    for name in [*[name.lower() for name in names if name.lower() in CHARSETS], "utf-8"]:
        try:
            return _NO_XML.sub("", body.decode(name))
        except (UnicodeDecodeError, LookupError):
            continue
    return _NO_XML.sub("", body.decode("windows-1252", "replace"))


def _check(text: str, shown: str) -> str:
    """Refuse what feedparser must not see, and mend what is merely untidy."""
    if not text.strip():
        raise FeedError(f"{shown}: an empty document")
    if _PAGE.match(text):
        raise FeedError(f"{shown}: a page for people instead of a feed")
    bare = _without_sections(text)
    if _TYPED.search(bare):
        raise FeedError(f"{shown}: {_TYPES}")
    root = _ROOT.match(bare)
    if root is None or root[2].lower() not in ROOTS:
        raise FeedError(f"{shown}: neither RSS nor Atom")
    if bare.count("<") > MARKS_MAX or text.count("&") > REFERENCES_MAX:
        raise FeedError(f"{shown}: more tags or references than a feed has")
    if len(_ENTRY.findall(bare)) > ENTRIES_MAX:
        raise FeedError(f"{shown}: more than {ENTRIES_MAX:,} entries")
    if _is_well_formed(text, shown):
        return text
    if not re.search(rf"</{re.escape(root[1])}\s*>", bare, re.IGNORECASE):
        raise FeedError(f"{shown}: the document is cut off")
    text = _REFERENCE.sub(_mend, text)
    if not _is_well_formed(text, shown) and (len(text) > UNTIDY_MAX or text.count("&") > UNTIDY_REFERENCES_MAX):
        raise FeedError(f"{shown}: not well-formed")
    return text


def _without_sections(text: str) -> str:
    """The text without comments, character data and instructions; one that isn't ended takes the rest with it."""
    kept, at = [], 0
    while begun := _APART_BEGINS.search(text, at):
        kept.append(text[at : begun.start()])
        end = dict(_APART)[begun[0]]
        over = text.find(end, begun.end())
        if over < 0:
            return "".join(kept)
        at = over + len(end)
    return "".join([*kept, text[at:]])


def _mend(found: re.Match[str]) -> str:
    return html5.get(f"{found[1]};", f"&amp;{found[1]};") if found[1] else "&amp;"


def _is_well_formed(text: str, shown: str) -> bool:
    from xml.sax import ContentHandler, SAXException

    from defusedxml import DefusedXmlException
    from defusedxml.sax import parseString

    try:
        parseString(text.encode("utf-8"), ContentHandler(), forbid_dtd=True)
    except DefusedXmlException:
        raise FeedError(f"{shown}: {_TYPES}") from None
    except (SAXException, ValueError):
        return False
    return True


def _parse(text: str, shown: str) -> list[dict[str, Any]]:
    import feedparser

    try:
        found = feedparser.parse(
            BytesIO(text.encode("utf-8")),
            response_headers={"content-type": "application/xml; charset=utf-8"},
            sanitize_html=False,  # all mark-up goes, in `data.clean`
            resolve_relative_uris=False,
        )
        return list(dict.get(found, "entries", []))
    except Exception as error:  # a hostile document may hit any fault of a parser
        raise FeedError(f"{shown}: can't be read ({type(error).__name__})") from None


def _read(entry: dict[str, Any], shown: str, summary_max: int) -> Entry:
    # dict.get: feedparser's own look-up warns of names that it has renamed, and guesses others
    url, said = clean_link(dict.get(entry, "link"), shown), dict.get(entry, "id")
    title = clean_text(dict.get(entry, "title"), html=True, most=TITLE_MAX).replace("\n", " ")
    return Entry(
        key=short_key(clean_link(said) or said) or short_key(url),
        title=title,
        summary=_summary(entry, title, summary_max),
        author=clean_name(clean_text(dict.get(entry, "author"), html=True)),
        url=url,
        published_ns=parse_date(dict.get(entry, "published")) or parse_date(dict.get(entry, "created")),
        updated_ns=parse_date(dict.get(entry, "updated")),
    )


def short_key(value: Any) -> str:
    """A key that fits: a long one is cut, and told apart from others that begin alike by its hash."""
    key = clean_name(value)
    if len(key) <= KEY_MAX:
        return key
    return f"{key[:KEY_MAX]}~{blake2b(str(value).encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"


def _summary(entry: dict[str, Any], title: str, most: int) -> str:
    if most <= 0:
        return ""
    said = dict.get(entry, "summary")
    if not said:
        contents = dict.get(entry, "content")
        first = contents[0] if isinstance(contents, list) and contents else None
        said = dict.get(first, "value") if isinstance(first, dict) else None
    text = clean_text(said, html=True, most=most)
    return "" if text == title else text
