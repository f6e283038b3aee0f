"""Answers whose weights were moved after the solve: every limit measured again on where they are."""

from __future__ import annotations

from dataclasses import replace

from kernel.canonical import Vector
from kernel.methods.mean_risk import measurements
from kernel.problem import Problem
from kernel.solution import ConstraintReport, Solution


def largest_violation(problem: Problem, w: Vector) -> float:
    """The largest amount by which w misses a limit."""
    return max([0.0, *(m.shortfall for m in measurements(problem, w))])


def measured_again(problem: Problem, found: Solution, w: Vector) -> Solution:
    """The solution at w with the limits of `problem` measured there, and the prices that are known of them.

    Objective, bound and gap of the certificate stay as they were found.
    """
    assert found.certificate is not None
    prices = {(report.name, report.sense): report.shadow_price for report in found.constraints}
    reports = tuple(ConstraintReport.of(m, prices.get((m.name, m.sense), 0.0)) for m in measurements(problem, w))
    certificate = replace(found.certificate, violation=largest_violation(problem, w))
    return replace(found, weights=w, certificate=certificate, constraints=reports)
