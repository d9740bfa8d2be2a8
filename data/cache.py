"""Where this machine keeps what is made anew for each version of the sources: compiled kernels, exported models."""

import hashlib
import os
import platform
from functools import cache
from importlib import metadata
from pathlib import Path

KERNEL_FLOORS = ("signals", "risk", "backtest")
HOUSE = Path(__file__).resolve().parent.parent


def cache_root() -> Path:
    """Folder under which all of it lies: TIDEGATE_CACHE, else the user's cache folder."""
    chosen = os.environ.get("TIDEGATE_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tidegate"


def kernel_key() -> str:
    """Hash of everything compiled code depends on: kernel sources, numba, Python, processor."""
    digest = hashlib.sha256()
    for floor in KERNEL_FLOORS:
        for path in sorted((HOUSE / floor).glob("*.py")):
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
    digest.update(f"{metadata.version('numba')} {platform.python_version()} {platform.machine()}".encode())
    return digest.hexdigest()[:16]


@cache
def kernel_cache() -> Path:
    """Folder of the compiled kernels of these sources; what is changed while a process runs isn't seen by it."""
    return cache_root() / kernel_key()


def kernels_are_cold() -> bool:
    """True when the next run has to compile the kernels first: the loop that calls all others isn't kept yet."""
    kept = kernel_cache()
    return not kept.exists() or next(kept.rglob("loop.loop-*.nbi"), None) is None
