"""What a method answers: the solution, and what the method alone can say of it."""

from __future__ import annotations

from dataclasses import dataclass

from kernel.problem import Problem
from kernel.solution import Solution


@dataclass(frozen=True, slots=True)
class Solved:
    """A request, solved.

    Attributes:
        problem: The mean-risk problem under the request's limits: its measure is reported on, its frontier traced.
        solution: The method's answer.
        evidence: What the method says beside; None without weights, or where there is nothing to say.
    """

    problem: Problem
    solution: Solution
    evidence: object | None = None
