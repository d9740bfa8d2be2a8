"""Sections of a configuration that only a session on a venue reads: exchange, live, notify, metrics.

A secret never stands in them: where one is needed, the file says where it lies (`env:NAME`, `file:PATH` or
`credential:NAME`).
"""

import ipaddress
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationInfo, field_validator

from bot.config_sections import Count, Section, key
from bot.config_types import Duration, Fault, Fraction, Names, Span, read_span
from data.times import MINUTE_NS, SECOND_NS, format_duration

OFF = 0  # `dead_man = "none"`
NOTICES = ("session", "fill", "refusal", "ladder", "alarm", "error", "daily")
Notice = Literal["session", "fill", "refusal", "ladder", "alarm", "error", "daily"]
REFERENCES = ("env:", "file:", "credential:")
BARE_NOTIFIERS = frozenset({"syslog", "dbus", "gnome", "kde", "macosx", "windows"})  # on this machine, without a secret
HOOKS = frozenset({"json", "xml", "form"})
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_SECRETS = frozenset(
    {"apikey", "secret", "password", "uid", "token", "privatekey", "walletaddress", "twofa", "accountid", "login"}
)
_REPEATS = frozenset({"maxretriesonfailure", "maxretriesonfailuredelay"})


def read_label(value: Any) -> str:
    """A short name that is also a folder's: small letters, digits, `-` and `_`."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise Fault("not a name", "Use up to 40 small letters, digits, - and _, a letter or digit first")
    return value


def read_timer(value: Any) -> int:
    """A duration above 0, or 0 for `none`."""
    if value == "none" or (value == OFF and not isinstance(value, (bool, str))):
        return OFF
    try:
        return read_span(value)
    except Fault:
        raise Fault("neither a duration nor none", 'Write for example "60s", or "none"') from None


def write_timer(timer: int) -> str:
    """The text that `read_timer` reads."""
    return format_duration(timer) if timer else "none"


def read_daytime(value: Any) -> int:
    """Nanoseconds after midnight UTC of `HH:MM`."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1440 * MINUTE_NS:
        return value
    found = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", value) if isinstance(value, str) else None
    if found is None:
        raise Fault("not a time of day", 'Write hours and minutes UTC, for example "00:05"')
    return (int(found[1]) * 60 + int(found[2])) * MINUTE_NS


def write_daytime(ns: int) -> str:
    """The text that `read_daytime` reads."""
    return f"{ns // (60 * MINUTE_NS):02}:{ns // MINUTE_NS % 60:02}"


def is_reference(text: str) -> bool:
    """True for text that names where a secret lies, and isn't one."""
    return text.startswith(REFERENCES) and len(text.partition(":")[2]) > 0


def is_near(host: str | None) -> bool:
    """True for this machine and for private networks, named by number."""
    if host in ("localhost", "ip6-localhost"):
        return True
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return False
    return address.is_loopback or address.is_private


def _endpoint(name: str, text: str) -> None:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
        raise Fault(f"{name} is not an address", 'Write for example "https://gateway.example/binance"')
    if parts.username or parts.password or parts.query:
        raise Fault(f"{name} carries a secret", "Secrets never stand here; give the address alone")
    wanted = ("ws", "wss") if name in ("stream", "user") else ("http", "https") if name == "rest" else ()
    if wanted and parts.scheme not in wanted:
        raise Fault(f"{name} has to begin with {' or '.join(f'{scheme}://' for scheme in wanted)}", "Correct it")
    if parts.scheme in ("http", "ws") and not is_near(parts.hostname):
        raise Fault(f"{name} is not encrypted", "Use https or wss; without it only 127.0.0.1 and private networks")


_TEXT = {"return_type": str, "when_used": "always"}
Label = Annotated[str, BeforeValidator(read_label)]
Timer = Annotated[int, BeforeValidator(read_timer), PlainSerializer(write_timer, **_TEXT)]
DayTime = Annotated[int, BeforeValidator(read_daytime), PlainSerializer(write_daytime, **_TEXT)]
Option = str | bool | int


class Exchange(Section):
    """The venue of paper and live: whose bars are followed, where orders go. Keys never stand here."""

    id: str = key("ccxt's name of the exchange", "kraken", "binance")
    account: Label = key("label of the account: its key and its lease are found by it", "main", "main")
    urls: dict[str, str] = Field(
        default_factory=dict,
        description="replaced endpoints: rest, stream, user (its private stream), or an entry of ccxt",
        examples=[{"rest": "http://127.0.0.1:8080", "stream": "ws://127.0.0.1:8080"}],
    )
    sandbox: bool = key("the venue's test network", False, False)
    demo: bool = key("the venue's demo trading", False, False)
    recv_window: Span = key("a signed request older than this is refused by the venue", "5s", "5s")
    timeout: Span = key("how long an answer is waited for", "12s", "12s")
    streams: bool = key("use websockets where the venue has them", True, True)
    options: dict[str, Option] = Field(
        default_factory=dict, description="ccxt's options of this exchange", examples=[{"warnOnFetchOpenOrders": False}]
    )

    @field_validator("id")
    @classmethod
    def _small(cls, text: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9]*", text):
            raise Fault("not an exchange's name", 'Use ccxt\'s name, for example "binance" or "kraken"')
        return text

    @field_validator("urls")
    @classmethod
    def _endpoints(cls, urls: dict[str, str]) -> dict[str, str]:
        for name, text in urls.items():
            _endpoint(name, text)
        return urls

    @field_validator("demo")
    @classmethod
    def _one_world(cls, demo: bool, info: ValidationInfo) -> bool:
        if demo and info.data.get("sandbox"):
            raise Fault("sandbox and demo are two different venues", "Choose one of them")
        return demo

    @field_validator("timeout")
    @classmethod
    def _longer(cls, timeout: int, info: ValidationInfo) -> int:
        window = info.data.get("recv_window")
        if window is not None and timeout <= window:
            raise Fault(
                f"has to be longer than recv_window ({format_duration(window)})",
                "An answer is waited for until the venue would refuse the request as too old",
            )
        return timeout

    @field_validator("recv_window")
    @classmethod
    def _short(cls, window: int) -> int:
        if window > 60 * SECOND_NS:
            raise Fault("is longer than any venue allows", 'Write at most "60s"; "5s" is advised')
        return window

    @field_validator("options")
    @classmethod
    def _harmless(cls, options: dict[str, Option]) -> dict[str, Option]:
        for name in options:
            if name.lower() in _SECRETS:
                raise Fault(f"{name} is a secret", "Keys are given by credentials, see: tidegate doctor")
            if name.lower() in _REPEATS:
                raise Fault(f"{name} would repeat orders", "Remove it: no order is ever sent twice")
        return options


class Live(Section):
    """A session: its name, its timers, what it puts up with."""

    name: Label = key("folder of the session's state under var/live or var/paper", "main", "default")
    heartbeat_after: Span = key("silent for so long: the watchdog cancels and halts (25)", "30s", "30s")
    unknown_orders: Count = key("orders of unknown outcome before no new risk is taken (18)", 2, 2)
    foreign_share: Fraction = key(
        "others may move this share of the allocation before no new risk is taken (17)", "1%", "1%"
    )
    clock_offset: Span = key("clock off the venue's by more than this: no new risk", "500ms", "500ms")
    dead_man: Timer = key("the venue's own timer that cancels all orders, where it has one; or none (26)", "60s", "60s")
    canary: bool = key("cap every entry at the venue's minimum", False, False)
    reconcile_every: Span = key("how often the account is compared with the journal", "30s", "30s")
    heads: str | None = key("a second file for the journal's signed heads, on another disk", "/mnt/safe/heads.jsonl")
    settle: Duration = key("how long after a bar's end its last trades are waited for", "2s", "2s")
    posts_queue: Count = key("posts that wait at most; those beyond are dropped and counted", 50_000, 50_000)

    @field_validator("heartbeat_after")
    @classmethod
    def _patient(cls, span: int) -> int:
        if span < 5 * SECOND_NS:
            raise Fault("is shorter than a healthy pause", 'Write at least "5s"')
        return span

    @field_validator("dead_man")
    @classmethod
    def _rearmed(cls, timer: int) -> int:
        if timer and timer < 10 * SECOND_NS:
            raise Fault("is shorter than the time to arm it again", 'Write at least "10s", or "none"')
        return timer


class Notify(Section):
    """Who is told of what, and an outside alarm for silence."""

    urls: Names = key("where notices go (apprise); with a secret: env:NAME, file:PATH or credential:NAME",
                      ["env:TIDEGATE_NOTIFY"], ())  # fmt: skip
    on: tuple[Notice, ...] = key("what is told of", list(NOTICES), NOTICES)
    daily: DayTime = key("when the daily summary goes out, UTC", "00:05", "00:05")
    heartbeat_url: str | None = key("asked while all is well, so that silence alarms somebody", "env:TIDEGATE_PULSE")
    heartbeat_every: Span = key("how often it is asked", "60s", "60s")

    @field_validator("urls")
    @classmethod
    def _no_secrets(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for text in urls:
            if is_reference(text):
                continue
            parts = urlsplit(text)
            hook = parts.scheme.removesuffix("s") in HOOKS and is_near(parts.hostname) and not parts.username
            if parts.scheme not in BARE_NOTIFIERS and not hook:
                # The address itself is the secret with most services: it isn't repeated in the message.
                raise Fault(
                    "an address may hold a secret", "Keep it elsewhere and write env:NAME, file:PATH or credential:NAME"
                )
        return urls

    @field_validator("heartbeat_url")
    @classmethod
    def _plain_address(cls, text: str | None) -> str | None:
        if text is None or is_reference(text):
            return text
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise Fault(
                "neither an address nor a reference", 'Write "https://...", or env:NAME, file:PATH, credential:NAME'
            )
        return text

    @field_validator("on", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class Metrics(Section):
    """Figures for Prometheus."""

    port: Annotated[int, Field(ge=0, le=65_535)] | None = key(
        "port on 127.0.0.1; left out: off; 0: any free one", 9_464
    )
