"""The house holds: arrows between the layers, what the kernel stays free of, and how large things may get."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("kernel", "storage", "server")
FORBIDDEN = {
    # The kernel is pure: no layer above, no wire, no database, and no clock, chance, environment or log of its own.
    "kernel": {
        *("server", "storage", "portfolio_optimization", "generated", "grpc", "google", "psycopg", "psycopg_pool"),
        *("procrastinate", "asyncio", "os", "time", "random", "logging", "socket", "structlog"),
    },
    "storage": {"server", "kernel", "portfolio_optimization", "generated", "grpc", "google"},
    "server": {"tests"},
}
KERNEL_LIBRARIES = {"numpy", "scipy", "clarabel", "highspy", "piqp", "cvxpy", "kernel"}

LONGEST_FUNCTION, USUAL_FUNCTION = 60, 30
LONGEST_FILE, USUAL_FILE = 500, 350
USUALLY = 0.9
MOST_ARGUMENTS = 5


@dataclass(frozen=True)
class Module:
    """One source file."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())


@dataclass(frozen=True)
class Function:
    """One function or method."""

    module: Module
    node: ast.FunctionDef | ast.AsyncFunctionDef

    @property
    def name(self) -> str:
        return f"{self.module.name}:{self.node.lineno} {self.node.name}"

    @property
    def lines(self) -> int:
        """Lines of the body: the docstring explains and is not counted."""
        first = self.node.body[0]
        documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
        docstring = (first.end_lineno or first.lineno) - first.lineno + 1 if documented else 0
        return (self.node.end_lineno or self.node.lineno) - self.node.lineno + 1 - docstring

    @property
    def arguments(self) -> int:
        """Positional arguments, self and cls apart; keyword-only ones read like settings."""
        names = [a.arg for a in (*self.node.args.posonlyargs, *self.node.args.args)]
        return len(names) - (names[:1] in (["self"], ["cls"]))


@cache
def modules(layer: str) -> tuple[Module, ...]:
    paths = sorted((ROOT / layer).rglob("*.py"))
    return tuple(Module(path, text, ast.parse(text)) for path in paths for text in [path.read_text()])


def all_modules() -> list[Module]:
    return [module for layer in LAYERS for module in modules(layer)]


def functions() -> list[Function]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [Function(m, node) for m in all_modules() for node in ast.walk(m.tree) if isinstance(node, kinds)]


def imports(module: Module) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that a module imports, inside functions too."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module.path.relative_to(ROOT).parent.parts
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            yield node.lineno, ".".join(filter(None, [base, node.module]))


def roots(layer: str) -> list[tuple[str, str]]:
    return [(f"{m.name}:{line}", name.split(".")[0]) for m in modules(layer) for line, name in imports(m)]


def share(values: list[int], limit: int) -> float:
    return sum(value <= limit for value in values) / max(len(values), 1)


@pytest.mark.parametrize("layer", LAYERS)
def test_arrows_point_downwards(layer: str) -> None:
    breaches = [f"{place} imports {root}" for place, root in roots(layer) if root in FORBIDDEN[layer]]
    assert not breaches


def test_the_kernel_knows_mathematics_only() -> None:
    strangers = {
        (place, root) for place, root in roots("kernel") if root not in KERNEL_LIBRARIES | sys.stdlib_module_names
    }
    assert not strangers


def test_the_certificate_trusts_no_solver() -> None:
    (certificate,) = [m for m in modules("kernel") if m.name == "kernel/certificate.py"]
    solvers = ("kernel.solvers", "clarabel", "piqp", "cvxpy", "scipy.optimize")
    assert not [name for _, name in imports(certificate) if name.startswith(solvers)]


def test_nothing_is_imported_by_star() -> None:
    stars = [
        f"{m.name}:{node.lineno}"
        for m in all_modules()
        for node in ast.walk(m.tree)
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
    ]
    assert not stars


def test_every_module_says_what_it_is() -> None:
    assert not [m.name for m in all_modules() if not ast.get_docstring(m.tree)]


def test_no_function_is_long() -> None:
    assert not [f"{f.name}: {f.lines} lines" for f in functions() if f.lines > LONGEST_FUNCTION]


def test_most_functions_are_short() -> None:
    assert share([f.lines for f in functions()], USUAL_FUNCTION) >= USUALLY


def test_no_file_is_long() -> None:
    assert not [f"{m.name}: {m.lines} lines" for m in all_modules() if m.lines > LONGEST_FILE]


def test_no_file_of_tests_is_long() -> None:
    assert not [f"{m.name}: {m.lines} lines" for m in modules("tests") if m.lines > LONGEST_FILE]


def test_most_files_are_short() -> None:
    assert share([m.lines for m in all_modules()], USUAL_FILE) >= USUALLY


def test_few_arguments() -> None:
    assert not [f"{f.name}: {f.arguments} arguments" for f in functions() if f.arguments > MOST_ARGUMENTS]


def test_the_checks_see_the_code() -> None:
    """A moved folder must not turn the checks above into checks of nothing."""
    assert len(modules("kernel")) > 20
    assert len(functions()) > 100
