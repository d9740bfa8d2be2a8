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
from functools import lru_cache
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from backtest.figures import Metrics
from backtest.metrics import measure
from backtest.page_pack import pack
from backtest.page_tables import parts
from data.errors import WorkError

if TYPE_CHECKING:
    from backtest.result import Result

_PLACE = re.compile(r"<!--(\w+)-->")


def write_page(result: Result, path: Path, metrics: Metrics | None = None) -> Path:
    """Write the page of `result` to `path` by one rename; WorkError when the disk refuses or plotly is missing."""
    text = page_html(result, metrics)
    path = Path(path)
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
    packed = _squeezed(facts)
    filling = parts(result, metrics, left_out)
    filling |= {
        "css": _resource("page.css"),
        "theme_js": _resource("page_theme.js"),
        "charts_js": _resource("page_charts.js"),
        "table_js": _resource("page_table.js"),
        "facts": packed,
        "plotly": plotly_bundle(),
        # Only scripts that carry this mark run. A hostile text can't know it: it depends on the whole run.
        "nonce": hashlib.sha256((result.content_hash() + packed).encode()).hexdigest()[:24],
    }
    return _PLACE.sub(lambda found: filling[found[1]], _resource("page.html"))


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


def _resource(name: str) -> str:
    return resources.files("backtest").joinpath(name).read_text(encoding="utf-8")
