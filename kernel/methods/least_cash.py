"""Goals that do not see how much is invested: of portfolios that differ in cash alone, the one with the least."""

from __future__ import annotations

from dataclasses import replace

from kernel.canonical import Vector
from kernel.methods.mean_risk import measurements, relative_gap
from kernel.problem import Problem
from kernel.solution import ConstraintReport, Solution

_BISECTIONS = 60
# A limit that is missed by no more than this is kept.
_KEPT = 1e-14
_BINDING = 1e-8


def with_least_cash(problem: Problem, found: Solution, cash: int) -> Solution:
    """The same assets in the amount that leaves the least cash, or the least borrowing, within the limits.

    The amounts within convex limits are an interval, so that bisection finds its end.

    Args:
        problem: Whose objective is the same for every amount.
        found: With weights.
        cash: The place of cash.
    """
    w = found.weights
    assert w is not None
    assert found.certificate is not None
    kept = max(found.certificate.violation, _KEPT)
    good, wanted = float(w[cash]), 0.0
    if violation(problem, beside_cash(w, wanted, cash)) <= kept:
        return reported_at(problem, found, beside_cash(w, wanted, cash))
    for _ in range(_BISECTIONS):
        middle = 0.5 * (good + wanted)
        if violation(problem, beside_cash(w, middle, cash)) <= kept:
            good = middle
        else:
            wanted = middle
    moved = beside_cash(w, good, cash)
    return reported_at(problem, found, moved) if violation(problem, moved) <= kept else found


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


def violation(problem: Problem, w: Vector) -> float:
    """The largest amount by which w misses a limit."""
    return max([0.0, *(m.shortfall for m in measurements(problem, w))])


def reported_at(problem: Problem, found: Solution, w: Vector) -> Solution:
    """The solution at w, everything measured there, with the prices that are known of it."""
    assert found.certificate is not None
    prices = {(report.name, report.sense): report.shadow_price for report in found.constraints}
    reports = tuple(
        ConstraintReport(
            name=m.name,
            unit=m.unit,
            sense=m.sense,
            limit=m.limit,
            value=m.value,
            slack=m.slack,
            binding=m.slack <= _BINDING,
            shadow_price=prices.get((m.name, m.sense), 0.0),
        )
        for m in measurements(problem, w)
    )
    objective = problem.objective.value(problem, w)
    certificate = replace(
        found.certificate,
        objective=objective,
        gap=relative_gap(objective, found.certificate.bound),
        violation=violation(problem, w),
    )
    return replace(found, weights=w, certificate=certificate, constraints=reports)
