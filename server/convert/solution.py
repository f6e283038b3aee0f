"""Solutions of the kernel, to the wire: outcome, certificate, limits, explanation."""

from __future__ import annotations

from collections.abc import Iterable

from portfolio_optimization.v1 import common_pb2 as pb

from kernel.solution import Certificate, ConstraintReport, Explanation, Solution
from kernel.status import Status

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


def write_outcome(status: Status, message: str, solution: Solution | None = None) -> pb.Outcome:
    """How it ended."""
    return pb.Outcome(status=_OUTCOMES[status], message=message, numbers={} if solution is None else solution.numbers)


def write_certificate(certificate: Certificate, solve_seconds: float) -> pb.Certificate:
    """How good the answer is."""
    solver, _, version = certificate.solver.rpartition(" ")
    return pb.Certificate(
        objective_value=certificate.objective,
        best_bound=certificate.bound,
        duality_gap=certificate.gap,
        max_violation=certificate.violation,
        iterations=certificate.iterations,
        solve_seconds=solve_seconds,
        solver=solver,
        solver_version=version,
    )


def write_constraints(reports: Iterable[ConstraintReport]) -> list[pb.ConstraintReport]:
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
        )
        for report in reports
    ]


def write_explanation(explanation: Explanation | None) -> pb.InfeasibilityExplanation | None:
    """Why nothing satisfies all limits."""
    if explanation is None:
        return None
    return pb.InfeasibilityExplanation(
        conflicting_constraints=explanation.conflicting,
        relaxations=[
            pb.Relaxation(name=r.name, unit=r.unit, limit=r.limit, relaxed_limit=r.relaxed_limit, change=r.change)
            for r in explanation.relaxations
        ],
        sentence=explanation.sentence,
    )
