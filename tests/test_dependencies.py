"""What the code imports is declared, and what is declared is used."""

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent
FLOORS = ("backtest", "bot", "data", "risk", "signals", "strategies")
# Named by the plan for floors that come later; the import tests of those floors will replace these lines.
COMES_LATER: set[str] = set()
# Brought along by a declared package that can't do without it.
COMES_WITH = {
    "llvmlite": "numba", "tokenizers": "transformers", "safetensors": "transformers", "huggingface-hub": "transformers",
    "yarl": "aiohttp",
}  # fmt: skip


def declared(*extras: str) -> set[str]:
    """Distributions that pyproject.toml asks for, normalised; those of some extras with them."""
    project = tomllib.loads((HOUSE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = project["dependencies"] + [text for name in extras for text in project["optional-dependencies"][name]]
    return {plain(re.split(r"[\[<>=!~ ]", text)[0]) for text in asked}


def plain(name: str) -> str:
    """A distribution's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def imported() -> dict[str, str]:
    """Foreign top-level modules that the packages import, each with one file that does."""
    found: dict[str, str] = {}
    for floor in FLOORS:
        for path in sorted((HOUSE / floor).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.module:
                    names = [node.module]
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "find_spec")):
                    names = re.findall(r"'(\w+)", ast.unparse(node))
                for name in names:
                    top = name.partition(".")[0]
                    if top not in sys.stdlib_module_names and top not in FLOORS:
                        found.setdefault(top, str(path.relative_to(HOUSE)))
    return found


def test_every_import_is_declared_and_every_declaration_is_used() -> None:
    """A missing line breaks a fresh machine; one too many is weight for nothing."""
    owners = metadata.packages_distributions()
    used = {}
    for module, file in imported().items():
        names = {plain(name) for name in owners.get(module, [COMES_WITH.get(module, module)])}
        used.update({COMES_WITH.get(name, name): f"{module} in {file}" for name in names})
    asked = declared()
    missing = {name: where for name, where in used.items() if name not in declared("onnx", "reddit", "node")}
    assert not missing, f"imported but not in pyproject.toml: {missing}"
    idle = asked - set(used) - COMES_LATER
    assert not idle, f"in pyproject.toml but never imported: {sorted(idle)}"
    assert not COMES_LATER & set(used), f"used by now, take it out of COMES_LATER: {COMES_LATER & set(used)}"


def test_every_dependency_is_pinned_in_the_constraints() -> None:
    """What was tested is written down, each name once, without local builds."""
    lines = (HOUSE / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in pins)
    names = [plain(line.partition("==")[0]) for line in pins]
    assert len(names) == len(set(names))
    assert declared() <= set(names)
