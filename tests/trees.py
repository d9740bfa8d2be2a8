"""Our sources as syntax trees, for tests of the sources themselves."""

import ast
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent
FLOORS = ("data", "signals", "strategies", "risk", "backtest", "bot")


def files(*folders: str) -> list[Path]:
    """Python files under the folders, in a fixed order."""
    return sorted(path for folder in folders for path in (HOUSE / folder).rglob("*.py"))


def parse(path: Path) -> ast.Module:
    """The tree of one file."""
    with no_collection():
        return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@lru_cache(maxsize=1)
def nodes(tree: ast.Module) -> list[ast.AST]:
    """All nodes, kept for the next rule that asks for those of the same tree."""
    return list(ast.walk(tree))


@contextmanager
def no_collection() -> Iterator[None]:
    """A tree is a hundred thousand objects and no cycle: looking for one again and again takes three times as long."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
