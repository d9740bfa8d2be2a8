"""What `tidegate doctor` looks at on the machine; `bot.doctor_live` has what it asks a venue."""

import contextlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from data.cache import kernel_cache

PACKAGES = (
    "ccxt",
    "duckdb",
    "numba",
    "numpy",
    "pandas",
    "pyarrow",
    "ta",
    "torch",
    "transformers",
    "tweepy",
    "vectorbt",
)
OPTIONAL = {"vectorbt-rust": "pip install vectorbt-rust makes vectorbt start faster"}
DISK_WARN_BYTES = 2 * 1024**3
DISK_FAIL_BYTES = 100 * 1024**2
GIB = 1024**3


@dataclass
class Finding:
    """One check: ok, warn or fail; what was found, and what to do about it."""

    status: str
    check: str
    found: str
    remedy: str = ""


def examine(var: Path) -> list[Finding]:
    """All checks, in the order they are printed."""
    return [_python(), *_packages(), *_cores_and_memory(), _device(), disk(var), _cache(), _writable(var)]


def _python() -> Finding:
    found = f"{platform.python_implementation()} {platform.python_version()}, {platform.system()} {platform.machine()}"
    if sys.maxsize < 2**32:
        return Finding("fail", "python", f"{found}, 32 bit", "Install a 64-bit Python, 3.11 or newer")
    return Finding("ok", "python", found)


def _packages() -> Iterator[Finding]:
    missing = []
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    yield Finding("ok", "packages", ", ".join(found))
    if missing:
        yield Finding("fail", "packages", f"missing: {', '.join(missing)}", "pip install -c constraints.txt tidegate")
    for name, remedy in OPTIONAL.items():
        with contextlib.suppress(metadata.PackageNotFoundError):
            yield Finding("ok", name, metadata.version(name))
            continue
        yield Finding("ok", name, "not installed (optional)", remedy)


def _cores_and_memory() -> Iterator[Finding]:
    yield Finding(
        "ok", "cores", str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    )
    with contextlib.suppress(ValueError, OSError, AttributeError):
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        small = total < 4 * GIB
        remedy = "Scoring with a transformer wants 4 GiB; use smaller batches" if small else ""
        yield Finding("warn" if small else "ok", "memory", f"{total / GIB:.1f} GiB", remedy)


def _device() -> Finding:
    try:
        import torch
    except (ImportError, OSError) as error:
        return Finding(
            "fail", "torch device", f"torch can't be loaded: {error}", "pip install -c constraints.txt torch"
        )
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        return Finding("ok", "torch device", f"cuda: {names}")
    return Finding("ok", "torch device", f"cpu, {torch.get_num_threads()} threads (no CUDA device: scoring is slower)")


def disk(folder: Path) -> Finding:
    """Free space where a folder lies, or will lie."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    found = f"{free / GIB:.1f} GiB free at {folder}"
    if free < DISK_FAIL_BYTES:
        return Finding("fail", "disk", found, "Free some space, or choose another place with --var")
    if free < DISK_WARN_BYTES:
        return Finding("warn", "disk", found, "A year of minutes of one symbol takes about 30 MB")
    return Finding("ok", "disk", found)


def _cache() -> Finding:
    kept = kernel_cache()
    files = list(kept.rglob("*.nbi")) if kept.exists() else []
    state = f"{len(files)} kernels compiled" if files else "empty: the first run compiles the kernels, once"
    fault = _try_write(kept)
    if fault:
        return Finding("warn", "kernel cache", f"{kept}: {fault}", "Every run compiles anew; set TIDEGATE_CACHE")
    return Finding("ok", "kernel cache", f"{kept}: {state}")


def _writable(var: Path) -> Finding:
    fault = _try_write(var)
    if fault:
        return Finding("fail", "var", f"{var.absolute()}: {fault}", "Choose another folder with --var or TIDEGATE_VAR")
    return Finding("ok", "var", f"{var.absolute()} can be written")


def _try_write(folder: Path) -> str:
    """Why nothing can be written there; empty when something can. Leaves nothing behind but the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"tidegate")
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""
