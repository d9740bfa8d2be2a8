"""The journal: what the bot heard, decided and sent, as a chain of records that shows when one was changed."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bot.journal.chain import JournalError, Record
    from bot.journal.file import Journal
    from bot.journal.memory import MemoryJournal
    from bot.journal.reader import Reader

# Loaded when somebody uses one: the command line only wants to know where journals lie.
_LATER = {
    "Journal": "bot.journal.file",
    "JournalError": "bot.journal.chain",
    "MemoryJournal": "bot.journal.memory",
    "Reader": "bot.journal.reader",
    "Record": "bot.journal.chain",
}

__all__ = ["Journal", "JournalError", "MemoryJournal", "Reader", "Record"]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
