"""The terms of multi-objective and custom optimizations, on the data of a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from kernel.canonical import Mask
from kernel.costs import TradingCost
from kernel.errors import ProblemError
from kernel.measures.registry import MEASURES
from kernel.methods.custom import MaximizeTerms, WeightedTerm
from kernel.methods.multi_objective import Goal
from kernel.terms import (
    Concentration,
    CostTerm,
    Entropy,
    ExposureSize,
    LinearTerm,
    RiskTerm,
    Term,
    TurnoverTerm,
)
from server.compute.limits import Ground, exposures_of
from server.compute.measures import measure_of, tracking_error
from server.specs import OptimizationSpec, TermSpec
from server.vocabulary import FACTOR_TERMS


def sum_of_terms(ground: Ground, spec: OptimizationSpec) -> MaximizeTerms:
    """The objective ``sum of coefficient * term``, to be maximised.

    Raises:
        ProblemError: A coefficient makes its term, and so the sum, other than concave.
    """
    return MaximizeTerms(tuple(WeightedTerm(_term(ground, spec, term), term.coefficient) for term in spec.terms))


def goals(ground: Ground, spec: OptimizationSpec) -> tuple[Goal, ...]:
    """What a Pareto surface lies between: terms of positive coefficients are to be large, others small.

    Raises:
        ProblemError: A term bends the other way.
    """
    return tuple(Goal(_term(ground, spec, term), maximize=term.coefficient > 0) for term in spec.terms)


def _term(ground: Ground, spec: OptimizationSpec, term: TermSpec) -> Term:
    if term.kind in FACTOR_TERMS:
        return _by_factor(ground, spec, term)
    if term.kind in MEASURES:
        level = term.confidence_level
        return RiskTerm(term.name, measure_of(term.kind, ground.estimated, spec.model, confidence_level=level))
    return _MAKERS[term.kind](ground, spec, term.name)


def _by_factor(ground: Ground, spec: OptimizationSpec, term: TermSpec) -> Term:
    exposures = exposures_of(ground.inputs, spec.constraints.exposures.values[term.factor])
    if term.kind == "factor_exposure":
        return LinearTerm(term.name, exposures, "exposure")
    return ExposureSize(term.name, exposures)


def _turnover(ground: Ground, spec: OptimizationSpec, name: str) -> Term:
    return TurnoverTerm(name, ground.inputs.weights_with_cash, 1.0 if spec.constraints.two_way_turnover else 0.5)


def _instruments(ground: Ground) -> Mask:
    return np.array([*(True for _ in ground.inputs.ids), False])


def _cost(ground: Ground, name: str) -> TradingCost:
    if ground.cost is None:
        raise ProblemError(f"terms[{name}]", "needs preferences.include_transaction_costs, or there is no cost")
    return ground.cost


_MAKERS: Mapping[str, Callable[[Ground, OptimizationSpec, str], Term]] = MappingProxyType(
    {
        "return": lambda ground, _, name: LinearTerm(name, ground.estimated.moments.mu),
        "turnover": _turnover,
        "cost": lambda ground, _, name: CostTerm(name, _cost(ground, name)),
        "tracking_error": lambda ground, _, name: RiskTerm(name, tracking_error(ground.inputs, ground.estimated)),
        "concentration": lambda ground, _, name: Concentration(name, _instruments(ground)),
        "entropy": lambda ground, _, name: Entropy(name, _instruments(ground)),
    }
)
