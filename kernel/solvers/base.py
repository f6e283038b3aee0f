"""The protocol behind which every solver stands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from kernel.canonical import Program, Vector
from kernel.problem import Settings


class RawStatus(Enum):
    """What a solver claims; the certificate decides what may be said."""

    SOLVED = "solved"
    INFEASIBLE = "infeasible"
    UNBOUNDED = "unbounded"
    LIMIT = "limit"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RawSolution:
    """A solver's claim.

    Attributes:
        x: (N,) primal point; meaningful with SOLVED and, as an incumbent, with LIMIT.
        z: (m,) row multipliers for the Lagrangian ``f(x) + z'(Ax - b)``.
        bound: A lower bound that the solver proved itself (integer searches), else None.
    """

    status: RawStatus
    x: Vector
    z: Vector
    iterations: int
    solver: str
    bound: float | None = None


class Solver(Protocol):
    """One solver library behind a plain call."""

    @property
    def name(self) -> str:
        """Name and version."""

    def accepts(self, program: Program) -> bool:
        """Whether the program's class is one that this solver solves."""

    def solve(self, program: Program, settings: Settings) -> RawSolution:
        """Solve; never raises for an outcome."""
