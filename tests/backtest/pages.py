"""Pages as tests read them: their tags, what is packed into them, and what a real browser makes of them."""

import base64
import gzip
import html.parser
import json
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def payload(text: str, name: str) -> bytes:
    """A packed block, inflated."""
    found = re.search(rf'<script type="text/plain" id="{name}">([A-Za-z0-9+/=]+)</script>', text)
    assert found is not None
    return gzip.decompress(base64.b64decode(found[1]))


def unpacked(raw: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and arrays of the packed facts."""
    length = struct.unpack_from("<I", raw)[0]
    header = json.loads(raw[4 : 4 + length])
    arrays = {
        name: np.frombuffer(raw, f"<{kind}", count, 4 + length + offset)
        for name, (offset, count, kind) in header["arrays"].items()
    }
    return header, arrays


class Tags(html.parser.HTMLParser):
    """All tags with their attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, text: str) -> None:
        self.words.append(text)


def shell(text: str) -> str:
    """The page without its two packed blocks."""
    return re.sub(r'(<script type="text/plain" id="\w+">)[^<]*', r"\1", text)


def opened(path: Path, query: str, scratch: Path) -> tuple[str, str]:
    """(the page's elements after its scripts ran, what the browser complained of); skips where no browser starts."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next((found for name in names if (found := shutil.which(name))), "")
    if not browser:
        pytest.skip("no Chromium here: the page's charts were not drawn")
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", f"--user-data-dir={scratch / 'profile'}",
        "--enable-logging=stderr", "--v=0", "--virtual-time-budget=8000", "--dump-dom", f"{path.as_uri()}?{query}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=100, check=False, text=True)
    if done.returncode != 0:
        pytest.skip(f"{browser} does not start here: the page's charts were not drawn")
    return done.stdout, done.stderr
