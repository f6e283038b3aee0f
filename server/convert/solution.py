"""Solutions of the kernel, to the wire: outcome, certificate, limits, explanation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from portfolio_optimization.v1 import common_pb2 as pb

from kernel.solution import Certificate, ConstraintReport, Explanation, Relaxation, RelaxationPlan, Solution
from kernel.status import Status
from server.compute.inputs import Floats
from server.convert.sentences import ObjectiveUnit, price_sentence

_OUTCOMES = {
    Status.OPTIMAL: pb.OUTCOME_STATUS_OPTIMAL,
    Status.OPTIMAL_TO_TOLERANCE: pb.OUTCOME_STATUS_OPTIMAL_TO_TOLERANCE,
    Status.INFEASIBLE: pb.OUTCOME_STATUS_INFEASIBLE,
    Status.UNBOUNDED: pb.OUTCOME_STATUS_UNBOUNDED,
    Status.ILL_POSED: pb.OUTCOME_STATUS_ILL_POSED,
    Status.LIMIT_REACHED: pb.OUTCOME_STATUS_LIMIT_REACHED,
    Status.NUMERICAL_FAILURE: pb.OUTCOME_STATUS_NUMERICAL_FAILURE,
}
_SENSES = {
    "<=": pb.CONSTRAINT_SENSE_AT_MOST,
    ">=": pb.CONSTRAINT_SENSE_AT_LEAST,
    "=": pb.CONSTRAINT_SENSE_EQUAL,
}


def request_status(solution: Solution) -> str:
    """The life of a request that ended with `solution`: completed exactly when there are weights to act on."""
    if solution.weights is not None:
        return "completed"
    return "numerical_failure" if solution.status is Status.LIMIT_REACHED else solution.status.value


def write_outcome(
    status: Status, message: str, solution: Solution | None = None, objective: str = "maximize_sharpe"
) -> pb.Outcome:
    """How it ended, with the reference of a ratio under the name that it has in the objective."""
    numbers = {} if solution is None else dict(solution.numbers)
    benchmark = objective == "maximize_information_ratio"
    if "reference_return" in numbers:
        numbers["benchmark_return" if benchmark else "risk_free_rate"] = numbers.pop("reference_return")
    for general in ("the reference rate", "the reference"):
        message = message.replace(general, "the benchmark's return" if benchmark else "the risk-free rate")
    return pb.Outcome(status=_OUTCOMES[status], message=message, numbers=numbers)


def write_certificate(certificate: Certificate, solve_seconds: float) -> pb.Certificate:
    """How good the answer is; a bound that says nothing is left out."""
    solver, _, version = certificate.solver.rpartition(" ")
    if not version[:1].isdigit():
        solver, version = certificate.solver, ""
    bounded = math.isfinite(certificate.bound)
    return pb.Certificate(
        objective_value=certificate.objective,
        best_bound=certificate.bound if bounded else None,
        duality_gap=certificate.gap if bounded else None,
        max_violation=certificate.violation,
        iterations=certificate.iterations,
        solve_seconds=solve_seconds,
        solver=solver,
        solver_version=version,
    )


def allocation(names: Sequence[str], weights: Floats) -> dict[str, float]:
    """Weights that are not zero, by asset."""
    return {name: weight for name, weight in zip(names, weights.tolist(), strict=True) if weight != 0.0}


def write_constraints(reports: Iterable[ConstraintReport], objective: ObjectiveUnit) -> list[pb.ConstraintReport]:
    """Every limit, where it stands and what it costs."""
    return [
        pb.ConstraintReport(
            name=report.name,
            unit=report.unit,
            sense=_SENSES[report.sense],
            limit=report.limit,
            value=report.value,
            slack=report.slack,
            binding=report.binding,
            shadow_price=report.shadow_price,
            sentence=price_sentence(report, objective),
        )
        for report in reports
    ]


def write_explanation(explanation: Explanation | None) -> pb.InfeasibilityExplanation | None:
    """Why nothing satisfies all limits."""
    if explanation is None:
        return None
    return pb.InfeasibilityExplanation(
        conflicting_constraints=explanation.conflicting,
        relaxations=map(write_relaxation, explanation.relaxations),
        sentence=explanation.sentence,
        alternatives=map(_write_plan, explanation.alternatives),
        minimality=explanation.minimality.value,
    )


def _write_plan(plan: RelaxationPlan) -> pb.RelaxationPlan:
    return pb.RelaxationPlan(
        kind=plan.kind.value,
        relaxations=map(write_relaxation, plan.relaxations),
        total_points=100.0 * plan.total,
        verified=plan.verified,
        proven_fewest=plan.fewest,
    )


def write_relaxation(r: Relaxation) -> pb.Relaxation:
    """A limit and the value that it has to take."""
    return pb.Relaxation(name=r.name, unit=r.unit, limit=r.limit, relaxed_limit=r.relaxed_limit, change=r.change)
