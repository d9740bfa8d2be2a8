"""Where journals lie: `VAR/paper/NAME/journal.sqlite` and `VAR/live/NAME/journal.sqlite`."""

from __future__ import annotations

from enum import StrEnum

JOURNAL_FILE = "journal.sqlite"


class Mode(StrEnum):
    """How a session trades; also the name of the folder that its state lies in."""

    paper = "paper"
    live = "live"
