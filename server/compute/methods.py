"""Every type of optimization, by the method that solves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from kernel.methods.mean_risk import optimize
from kernel.problem import Settings
from server.compute.diversification import solve_diversification, solve_simple_rule
from server.compute.estimate import Estimate
from server.compute.hierarchical import solve_hierarchical
from server.compute.inputs import MarketInputs
from server.compute.multi_period import solve_multi_period
from server.compute.problem import build_problem
from server.compute.risk_parity import solve_risk_parity
from server.compute.robust import solve_robust
from server.compute.solved import Solved
from server.specs import OptimizationSpec
from server.vocabulary import HIERARCHIES

__all__ = ["solve_request"]

Method = Callable[[MarketInputs, Estimate, OptimizationSpec, Settings], Solved]

_METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "risk_parity": solve_risk_parity,
        **dict.fromkeys(HIERARCHIES, solve_hierarchical),
        "maximum_diversification": solve_diversification,
        "most_decorrelated": solve_diversification,
        "equal_weight": solve_simple_rule,
        "inverse_volatility": solve_simple_rule,
        "robust": solve_robust,
        "multi_period": solve_multi_period,
    }
)


def solve_request(inputs: MarketInputs, estimated: Estimate, spec: OptimizationSpec, settings: Settings) -> Solved:
    """Solve what a request asks for.

    Raises:
        ProblemError: Something asked for cannot be posed.
    """
    return _METHODS.get(spec.optimization_type, _solve_mean_risk)(inputs, estimated, spec, settings)


def _solve_mean_risk(inputs: MarketInputs, estimated: Estimate, spec: OptimizationSpec, settings: Settings) -> Solved:
    problem = build_problem(inputs, estimated, spec)
    return Solved(problem, optimize(problem, settings))
