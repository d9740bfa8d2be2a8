"""Nothing secret leaves the exchange process: keys and signatures are struck out of every log, error and answer."""

from __future__ import annotations

import base64
import json
import logging
import re
import sys
import threading
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TextIO
from urllib.parse import quote, quote_plus

HIDDEN = "***"
SHORTEST = 8
# Names of what carries a secret, in query strings, headers, JSON and Python's own notation.
_NAMED = re.compile(
    r"""(?ix)
    ( (?<![a-z])
      (?: x-mbx-apikey | api-?_?key | secret | signature | sign | api-sign | listen-?_?key | listen-?_?token
        | pass-?_?phrase | password | ok-access-(?:key|sign|passphrase) | x-bapi-(?:api-key|sign) | token )
      ['"]? \s* [=:] \s* ['"]? )
    ( [^\s&'",;}\])]+ )
    """
)
_LONG_HEX = re.compile(r"(?<![0-9A-Za-z])[0-9a-fA-F]{64,}(?![0-9A-Za-z])")  # a signature without its name
_WS_PATH = re.compile(r"(/(?:ws|stream)/)[0-9A-Za-z]{40,}")  # a listen key as the path of a stream

_secrets: list[str] = []


def keep_secret(*values: str | None) -> None:
    """Strike these values, and what they look like encoded, out of everything from now on.

    Raises
    ------
    ValueError
        A value is so short that striking it out would hide everything else.
    """
    for value in values:
        if value is None:
            continue
        if len(value) < SHORTEST:
            raise ValueError(f"a secret of fewer than {SHORTEST} characters")
        lines = [line for line in value.splitlines() if len(line) >= SHORTEST]
        for text in (value, *lines):
            for form in (
                text,
                quote(text, safe=""),
                quote_plus(text),
                json.dumps(text)[1:-1],
                repr(text)[1:-1],
                base64.b64encode(text.encode()).decode(),
            ):
                if form not in _secrets:
                    _secrets.append(form)
    _secrets.sort(key=len, reverse=True)


def redact(text: object) -> str:
    """The text without anything secret."""
    line = _struck(str(text))
    line = _NAMED.sub(lambda found: found.group(1) + HIDDEN, line)
    line = _WS_PATH.sub(lambda found: found.group(1) + HIDDEN, line)
    return _LONG_HEX.sub(HIDDEN, line)


def redact_bytes(line: bytes) -> bytes:
    """A line without the kept secrets; nothing else of it changes."""
    if any(secret.encode() in line for secret in _secrets):
        return _struck(line.decode(errors="replace")).encode()
    return line


def _struck(line: str) -> str:
    for secret in _secrets:
        if secret in line:
            line = line.replace(secret, HIDDEN)
    return line


class Redaction(logging.Filter):
    """Put on a handler: what passes it carries no secret, extra fields included."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Clean the record in place; it always passes."""
        _clean(record)
        for name, value in list(record.__dict__.items()):
            if isinstance(value, str) and name not in ("msg", "exc_text"):
                record.__dict__[name] = redact(value)
        return True


class _CleanStream:
    """Standard output or error; ccxt prints when it is verbose."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text without anything secret."""
        self._stream.write(redact(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def install() -> None:
    """Redact every log record of this process at its making, every print, and every traceback that nobody caught."""
    made = logging.getLogRecordFactory()
    if getattr(made, "redacts", False):
        return

    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = made(*args, **kwargs)
        _clean(record)
        return record

    make.redacts = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def clean_streams() -> None:
    """Redact what is printed, too. For the process's own start: it replaces `sys.stdout` and `sys.stderr`."""
    sys.stdout = _CleanStream(sys.stdout)
    sys.stderr = _CleanStream(sys.stderr)


def _clean(record: logging.LogRecord) -> None:
    try:
        message = record.getMessage()
    except (TypeError, ValueError, KeyError):  # arguments that don't fit their text; neither may be lost nor leak
        message = f"{record.msg} {record.args!r}"
    record.msg, record.args = redact(message), None
    if record.exc_info and record.exc_info[0] is not None:
        record.exc_text = redact("".join(traceback.format_exception(*record.exc_info)).rstrip())
        record.exc_info = None
    elif record.exc_text:
        record.exc_text = redact(record.exc_text)
    if record.stack_info:
        record.stack_info = redact(record.stack_info)


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    sys.stderr.write(redact("".join(traceback.format_exception(kind, error, trace))))


def redact_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a message with their texts redacted."""
    return {name: redact(value) if isinstance(value, str) else value for name, value in fields.items()}
