"""A run as one HTML file: no network, no server, readable in ten years. Opens on a phone as well as on a wide screen.

The curves and plotly's own code travel inside, compressed; the browser inflates them (`DecompressionStream`). The page
forbids itself every connection (content security policy), and every text of the run is escaped. Figures, months,
refusals, inputs and settings are plain HTML and need no script.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from backtest.figures import Metrics
from backtest.metrics import measure
from backtest.page_pack import pack
from backtest.page_tables import parts
from data.errors import InputError, WorkError

if TYPE_CHECKING:
    from backtest.result import Result

_PLACE = re.compile(r"<!--(\w+)-->")


def write_page(result: Result, path: Path, metrics: Metrics | None = None) -> Path:
    """Write the page of `result` to `path` by one rename; WorkError when the disk refuses or plotly is missing."""
    return save_page(page_html(result, metrics), path)


def save_page(text: str, path: Path) -> Path:
    """Write a page by one rename; InputError when a folder stands there, WorkError when the disk refuses."""
    path = Path(path)
    if path.is_dir():
        raise InputError("a folder, not a file", where=path, remedy=f"Name a file in it: {path / 'report.html'}")
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half.write_text(text, encoding="utf-8")
        os.replace(half, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            half.unlink()
        raise WorkError(f"{path}: the report could not be written ({error.strerror or error})") from error
    return path


def page_html(result: Result, metrics: Metrics | None = None) -> str:
    """The whole page as text; the same run gives the same page."""
    metrics = metrics or measure(result)
    facts, left_out = pack(result)
    filling = parts(result, metrics, left_out)
    filling |= {"charts_js": resource("page_charts.js"), "table_js": resource("page_table.js")}
    return compose("page.html", filling, facts, stamp=result.content_hash())


def compose(template: str, filling: Mapping[str, str], facts: bytes, *, stamp: str) -> str:
    """A page from its template: what is given, the packed facts, and what every page has.

    Only scripts that carry the page's mark run. A hostile text can't know it: it depends on all of `stamp` and `facts`.
    """
    packed = _squeezed(facts)
    everywhere = {
        "css": resource("page.css"),
        "theme_js": resource("page_theme.js"),
        "base_js": resource("page_base.js"),
        "facts": packed,
        "plotly": plotly_bundle(),
        "nonce": hashlib.sha256((stamp + packed).encode()).hexdigest()[:24],
    }
    whole = {**filling, **everywhere}
    return _PLACE.sub(lambda found: whole[found[1]], resource(template))


@lru_cache(maxsize=1)
def plotly_bundle() -> str:
    """plotly.js as gzip in base64, from the installed package plotly (MIT licence), which isn't imported for it."""
    found = find_spec("plotly")
    where = Path(found.origin).parent / "package_data" / "plotly.min.js" if found and found.origin else None
    if where is None or not where.is_file():
        raise WorkError("plotly's code for the browser is missing; install the package plotly again")
    return _squeezed(where.read_bytes())


def _squeezed(raw: bytes) -> str:
    return base64.b64encode(gzip.compress(raw, compresslevel=9, mtime=0)).decode("ascii")


def resource(name: str) -> str:
    """A file of this folder as text."""
    return resources.files("backtest").joinpath(name).read_text(encoding="utf-8")
