"""Goals that do not see how much is invested: of portfolios that differ in cash alone, the one with the least."""

from __future__ import annotations

from dataclasses import replace

from kernel.canonical import Vector
from kernel.methods.mean_risk import relative_gap
from kernel.methods.measured_again import largest_violation, measured_again
from kernel.problem import Problem
from kernel.solution import Solution

_BISECTIONS = 60
# A limit that is missed by no more than this is kept.
_KEPT = 1e-14


def with_least_cash(problem: Problem, found: Solution, cash: int) -> Solution:
    """The same assets in the amount that leaves the least cash, or the least borrowing, within the limits.

    Args:
        problem: Whose objective is the same for every amount.
        found: With weights.
        cash: The place of cash.
    """
    w = found.weights
    assert w is not None
    moved = beside_cash(w, least_cash(problem, w, float(w[cash]), cash), cash)
    kept = max(largest_violation(problem, w), _KEPT)
    return _reported_at(problem, found, moved) if largest_violation(problem, moved) <= kept else found


def least_cash(problem: Problem, w: Vector, held: float, cash: int) -> float:
    """The amount nearest to none between it and `held`, which is within the limits.

    The amounts within convex limits are an interval, so that bisection finds its end.
    """
    kept = max(largest_violation(problem, beside_cash(w, held, cash)), _KEPT)
    good, wanted = held, 0.0
    if largest_violation(problem, beside_cash(w, wanted, cash)) <= kept:
        return wanted
    for _ in range(_BISECTIONS):
        middle = 0.5 * (good + wanted)
        if largest_violation(problem, beside_cash(w, middle, cash)) <= kept:
            good = middle
        else:
            wanted = middle
    return good


def beside_cash(w: Vector, held: float, cash: int) -> Vector:
    """Weights in the ratios of `w` beside so much cash, adding up to 1; `w` itself where its assets add up to none."""
    assets = w.copy()
    assets[cash] = 0.0
    total = float(assets.sum())
    if total <= 0.0:
        return w
    assets *= (1.0 - held) / total
    assets[cash] = held
    return assets


def _reported_at(problem: Problem, found: Solution, w: Vector) -> Solution:
    """The solution at w, everything measured there."""
    moved = measured_again(problem, found, w)
    assert moved.certificate is not None
    objective = problem.objective.value(problem, w)
    gap = relative_gap(objective, moved.certificate.bound)
    return replace(moved, certificate=replace(moved.certificate, objective=objective, gap=gap))
