"""No door beside the gate: by the sources, only `risk.gate.send` makes an order, and nothing switches it off."""

import ast
from collections.abc import Iterator
from typing import Any

import pytest

from tests.trees import FLOORS, HOUSE, files, no_collection, parse

BYPASS = (
    "bypass",
    "skip_gate",
    "no_gate",
    "ungated",
    "force_order",
    "approve_all",
    "disable_risk",
    "unsafe",
    "ignore_limits",
)
Place = tuple[str, str]  # file, function
Held = tuple[str, ast.AST]  # function, node
Sources = list[tuple[str, ast.Module, list[Held]]]


def functions(tree: ast.Module) -> Iterator[Held]:
    """Every node with the name of the outermost function it stands in."""
    for top in tree.body:
        owners = (
            [top] if isinstance(top, ast.FunctionDef) else [n for n in ast.walk(top) if isinstance(n, ast.FunctionDef)]
        )
        inside = {id(node): owner.name for owner in owners for node in ast.walk(owner)}
        for node in ast.walk(top):
            yield inside.get(id(node), ""), node


@pytest.fixture(scope="module")
def sources() -> Sources:
    """All of them: file, tree, and every node with its function."""
    found = []
    for path in files(*FLOORS):
        tree = parse(path)
        with no_collection():
            found.append((str(path.relative_to(HOUSE)), tree, list(functions(tree))))
    return found


def raisers(nodes: list[Held]) -> Iterator[str]:
    """Functions that raise `n_orders` or give an order its id: what makes a record a working order."""
    for name, node in nodes:
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add) and attribute(node.target) == "n_orders":
            yield name
        if isinstance(node, ast.Assign):
            for target in node.targets:
                owner = getattr(getattr(target, "value", None), "id", "")
                if attribute(target) == "n_orders" or (attribute(target) == "id" and owner == "order"):
                    yield name


def attribute(node: ast.AST) -> str:
    """Name of the field an expression writes: `x.field` or `x["field"]`."""
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value)
    return ""


def callers(nodes: list[Held], wanted: str) -> Iterator[str]:
    """Functions that call `wanted`."""
    for name, node in nodes:
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == wanted:
            yield name


def found(sources: Sources, rule: Any, *args: str) -> set[Place]:
    """Where a rule holds."""
    return {(file, name) for file, _, nodes in sources for name in rule(nodes, *args)}


def test_only_the_gate_makes_a_working_order(sources: Sources) -> None:
    """`send` is the one place that adds to the table of orders."""
    assert found(sources, raisers) == {("risk/gate.py", "send")}


def test_send_asks_the_gate_before_it_makes_the_order(sources: Sources) -> None:
    """The verdict stands before the record, and a refusal returns."""
    tree = next(tree for file, tree, _ in sources if file == "risk/gate.py")
    send = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "send")
    asked = [
        node.lineno for node in ast.walk(send) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "gate"
    ]
    made = [
        node.lineno
        for node in ast.walk(send)
        if isinstance(node, ast.AugAssign) and attribute(node.target) == "n_orders"
    ]
    refusals = [
        node for node in ast.walk(send) if isinstance(node, ast.If) and ast.unparse(node.test) == "rule != APPROVED"
    ]
    assert len(asked) == 1 and len(made) == 1 and asked[0] < made[0]
    assert any(isinstance(step, ast.Return) and ast.unparse(step) == "return False" for step in refusals[0].body)


def test_only_the_law_sends(sources: Sources) -> None:
    """Sizing and protection call `send`; nobody above the floor of risk does, or can without importing it."""
    # The floor of data can't import risk; what it sends is messages of a WebSocket.
    below = {file for file, _ in found(sources, callers, "send") if not file.startswith(("bot/", "data/"))}
    assert below == {"risk/execution.py", "risk/protection.py"}
    imported = {
        file
        for file, _, nodes in sources
        for _, node in nodes
        if isinstance(node, ast.ImportFrom) and node.module == "risk.gate" and "send" in {a.name for a in node.names}
    }
    assert imported == {"risk/execution.py", "risk/protection.py"}


def test_positions_are_moved_by_fills_and_funding_alone(sources: Sources) -> None:
    """Fills end in one function, besides liquidations and what somebody took by hand; funding in one."""
    assert found(sources, callers, "apply_fill") == {
        ("risk/fills.py", "book_fill"), ("risk/hear.py", "_cut"), ("risk/hear.py", "_late_fill"),
        ("backtest/venue.py", "_liquidate"),
    }  # fmt: skip
    assert found(sources, callers, "apply_funding") == {("risk/hear.py", "_funded")}


def test_no_word_in_the_sources_switches_the_gate_off(sources: Sources) -> None:
    """No name, argument or option of that kind."""
    named = set()
    for file, _, nodes in sources:
        for _, node in nodes:
            names = [getattr(node, key, None) for key in ("id", "attr", "arg", "name")]
            named |= {
                (file, name) for name in names if isinstance(name, str) and any(word in name.lower() for word in BYPASS)
            }
    assert not named


@pytest.mark.parametrize(
    "planted",
    [
        "def place(account):\n    account.n_orders += 1",
        "def place(desk):\n    desk.account['n_orders'] = 5",
        "class A:\n    def put(self, order):\n        order.id = 3",
    ],
)
def test_a_planted_door_is_found(planted: str) -> None:
    """A rule that can't fail proves nothing."""
    assert list(raisers(list(functions(ast.parse(planted)))))
