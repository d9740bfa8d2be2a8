"""The style guide as a test: each fault is named with file, line and what to do instead."""

import ast
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.trees import FLOORS, HOUSE, files, no_collection, nodes, parse

FUNCTION_LINES_MAX = 60
FILE_LINES_MAX = 400
HEAVY = {
    *("torch", "transformers", "ccxt", "tweepy", "vectorbt", "plotly", "matplotlib", "ta", "arch", "scipy"),
    *("httpx", "feedparser", "websockets", "asyncpraw", "web3"),
}
CLOCKS = {
    "time": {"time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "process_time"},
    "datetime": {"now", "utcnow", "today"},
    "dt": {"now", "utcnow", "today"},
    "date": {"today"},
    "Timestamp": {"now", "utcnow", "today"},
}
TOP_LEVEL = {
    *FLOORS, "tests", "benchmarks", ".ci", ".gitignore", "LICENSE", "Makefile", "README.md", "constraints.txt",
    "pyproject.toml",
}  # fmt: skip
Faults = Iterator[tuple[int, str]]


def function_lines(tree: ast.Module, path: Path) -> Faults:
    """Functions have at most 60 lines."""
    for node in nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = (node.end_lineno or node.lineno) - node.lineno + 1
            if count > FUNCTION_LINES_MAX:
                yield node.lineno, f"{node.name} has {count} lines; split it: {FUNCTION_LINES_MAX} at most"


def file_lines(tree: ast.Module, path: Path) -> Faults:
    """Files have at most 400 lines."""
    count = len(path.read_text(encoding="utf-8").splitlines())
    if count > FILE_LINES_MAX:
        yield 1, f"{count} lines; move a topic to a file of the same floor: {FILE_LINES_MAX} at most"


def package_names(tree: ast.Module, path: Path) -> Faults:
    """No variable or parameter is called like a top-level package."""
    inside_classes = {id(item) for node in nodes(tree) if isinstance(node, ast.ClassDef) for item in node.body}
    fields = {
        id(target)
        for node in nodes(tree)
        if id(node) in inside_classes and isinstance(node, ast.AnnAssign | ast.Assign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    }
    for node in nodes(tree):
        name = ""
        if isinstance(node, ast.arg):
            name = node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in fields:
            name = node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and id(node) not in inside_classes:
            name = node.name
        elif isinstance(node, ast.alias):
            name = node.asname or ""
        if name in FLOORS:
            yield getattr(node, "lineno", 1), f"{name!r} is a package; call it by what it holds"


def clocks(tree: ast.Module, path: Path) -> Faults:
    """Time is an argument everywhere below bot/."""
    for node in nodes(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else getattr(node.value, "attr", "")
            if node.attr in CLOCKS.get(owner, ()):
                yield node.lineno, f"reads the clock ({owner}.{node.attr}); take the time as an argument from bot/"
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            for alias in node.names:
                if alias.name in CLOCKS["time"]:
                    yield node.lineno, f"reads the clock (time.{alias.name}); take the time as an argument from bot/"


def heavy_imports(tree: ast.Module, path: Path) -> Faults:
    """Heavy packages are imported where they are used, so that `tidegate --help` stays quick."""
    for node in _top_level(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        for name in names:
            if name.split(".")[0] in HEAVY:
                yield node.lineno, f"imports {name} when loaded; import it inside the function that uses it"


def _top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run on import: those of functions and of `if TYPE_CHECKING` don't."""
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        yield node
        waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]


def relative_imports(tree: ast.Module, path: Path) -> Faults:
    """Imports are absolute."""
    for node in nodes(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield node.lineno, "a relative import; name the package"


def module_sentence(tree: ast.Module, path: Path) -> Faults:
    """A module opens with a sentence that says what it is."""
    if not ast.get_docstring(tree):
        yield 1, "no docstring; open the module with one sentence that could stand in the README"


RULES: list[tuple[Callable[[ast.Module, Path], Faults], tuple[str, ...]]] = [
    (function_lines, (*FLOORS, "tests", "benchmarks")),
    (file_lines, (*FLOORS, "tests", "benchmarks")),
    (package_names, (*FLOORS, "tests", "benchmarks")),
    (clocks, FLOORS[:-1]),
    (heavy_imports, FLOORS),
    (relative_imports, (*FLOORS, "tests", "benchmarks")),
    (module_sentence, (*FLOORS, "tests", "benchmarks")),
]


@pytest.fixture(scope="module")
def broken() -> dict[str, list[str]]:
    """What breaks each rule: every file is read once for all of them."""
    found: dict[str, list[str]] = {rule.__name__: [] for rule, _ in RULES}
    reached = {rule.__name__: set(files(*folders)) for rule, folders in RULES}
    for path in sorted(set().union(*reached.values())):
        tree = parse(path)
        with no_collection():
            for rule, _ in RULES:
                if path in reached[rule.__name__]:
                    place = path.relative_to(HOUSE)
                    found[rule.__name__] += [f"{place}:{line}: {fault}" for line, fault in rule(tree, path)]
    return found


@pytest.mark.parametrize("rule", [rule.__name__ for rule, _ in RULES])
def test_tidy(rule: str, broken: dict[str, list[str]]) -> None:
    """Every source obeys the rule."""
    assert not broken[rule], "\n" + "\n".join(broken[rule])


PLANTED = {
    function_lines: "def f():\n" + "    pass\n" * FUNCTION_LINES_MAX,
    package_names: "def f(risk): pass",
    clocks: "import time\nstamp = time.time_ns()",
    heavy_imports: "try:\n    import torch\nexcept ImportError:\n    pass",
    relative_imports: "from . import neighbour",
    module_sentence: "x = 1",
}


@pytest.mark.parametrize("rule", PLANTED, ids=lambda rule: rule.__name__)
def test_rule_finds_what_is_planted(rule: Callable[[ast.Module, Path], Faults]) -> None:
    """A rule that can't fail proves nothing."""
    assert list(rule(ast.parse(PLANTED[rule]), Path("planted.py")))


def test_typing_only_and_local_imports_are_allowed() -> None:
    """Neither runs when the module is loaded."""
    text = "if TYPE_CHECKING:\n    import torch\n\ndef f():\n    import ccxt\n"
    assert not list(heavy_imports(ast.parse(text), Path("planted.py")))


def test_nothing_else_lies_at_the_top() -> None:
    """What a trial run left in the checkout isn't committed with the next change."""
    if not (HOUSE / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout: nobody can tell what belongs to it")
    asked = subprocess.run(["git", "ls-files", "-z"], cwd=HOUSE, capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        pytest.skip(f"git doesn't say: {asked.stderr.strip()}")  # another user's checkout, for example
    assert {name.partition("/")[0] for name in asked.stdout.split("\0") if name} == TOP_LEVEL
