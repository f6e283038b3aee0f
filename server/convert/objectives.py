"""What is to be best, from the wire: the objective, its measure of risk, its terms and its fallback."""

from __future__ import annotations

from portfolio_optimization.v1 import objectives_pb2
from portfolio_optimization.v1.optimization_pb2 import CreateOptimizationRequest

from server.convert.faults import Bounds, Faults
from server.specs import TermSpec
from server.vocabulary import (
    CONCAVE_TERMS,
    CONVEX_TERMS,
    FACTOR_TERMS,
    FALLBACKS,
    IMPLIED_OBJECTIVES,
    OBJECTIVES,
    OPTIMIZATION_TYPES,
    OWN_GOALS,
    RISK_MEASURES,
    TERM_KINDS,
)

OPEN_FRACTION = Bounds(0.0, 1.0, open_low=True, open_high=True)
_COEFFICIENT = Bounds(-1e9, 1e9)
_POINTS = Bounds(3, 200)
# Kinds and objectives that are about one risk.
_OWN_MEASURES = {
    "minimum_variance": ("volatility", "variance"),
    "maximize_sortino": ("semi_deviation",),
    "maximize_information_ratio": ("volatility",),
    "maximum_diversification": tuple(word for word in RISK_MEASURES.served if word != "var"),
}
_OF_TERMS = ("multi_objective", "custom")


def read_type(message: CreateOptimizationRequest, faults: Faults) -> str:
    """The kind of optimization, whose own fields must be there, and those of other kinds absent."""
    kind = faults.word("optimization_type", message.optimization_type, OPTIMIZATION_TYPES)
    given = message.HasField("scenarios") or bool(message.scenarios_id)
    if kind == "scenario_based" and not given:
        faults.add("scenarios", "are required for scenario_based, or a scenarios_id")
    elif kind != "scenario_based" and given:
        field = "scenarios" if message.HasField("scenarios") else "scenarios_id"
        faults.add(field, "belongs to the optimization_type scenario_based")
    return kind


def read_objective(message: CreateOptimizationRequest, faults: Faults) -> str:
    """The objective, which some kinds of optimization imply."""
    implied = IMPLIED_OBJECTIVES.get(message.optimization_type)
    if implied is None:
        word = faults.word("objective", message.objective, OBJECTIVES)
        if word in OWN_GOALS:
            faults.add("objective", f"belongs to the optimization_type {word}")
        return word
    if message.objective not in ("", implied):
        faults.add("objective", f"must be {implied} for {message.optimization_type}, not {message.objective!r}")
    return implied


def read_measure(message: CreateOptimizationRequest, objective: str, faults: Faults) -> str:
    """The measure of risk; some objectives and kinds of optimization have one of their own."""
    own = "semi_deviation" if objective == "maximize_sortino" else "volatility"
    measure = faults.word("risk_measure", message.risk_measure or own, RISK_MEASURES)
    who = message.optimization_type if message.optimization_type in _OWN_MEASURES else objective
    allowed = _OWN_MEASURES.get(who, RISK_MEASURES.served)
    if measure in RISK_MEASURES.served and measure not in allowed:
        faults.add("risk_measure", f"must be {' or '.join(allowed)} for {who}, not {measure!r}")
    return measure


def read_fallback(message: CreateOptimizationRequest, faults: Faults) -> str:
    """The objective in place of a ratio without meaning; empty = none."""
    word = message.preferences.ill_posed_fallback
    return faults.word("preferences.ill_posed_fallback", word, FALLBACKS) if word else ""


def read_terms(message: CreateOptimizationRequest, faults: Faults) -> tuple[TermSpec, ...]:
    """The terms of a multi-objective or custom optimization."""
    kind, count = message.optimization_type, len(message.terms)
    if kind not in _OF_TERMS:
        if count:
            faults.add("terms", f"belong to the optimization_types {' and '.join(_OF_TERMS)}")
        return ()
    if kind == "custom" and not count:
        faults.add("terms", "must be at least one")
    if kind == "multi_objective" and count not in (2, 3):
        faults.add("terms", f"must be two or three for multi_objective, not {count}")
    default = message.confidence_level or 0.95
    terms = tuple(_read_term(k, term, default, faults) for k, term in enumerate(message.terms))
    faults.distinct("terms", [term.name for term in terms])
    for term in terms:
        if term.kind == "cost" and not message.preferences.include_transaction_costs:
            faults.add(f"terms[{term.name}].kind", "needs preferences.include_transaction_costs, or there is no cost")
        if term.kind == "entropy" and message.constraints.allow_short:
            faults.add(f"terms[{term.name}].kind", "needs weights that are not negative, so no allow_short")
    return terms


def read_pareto_points(message: CreateOptimizationRequest, faults: Faults) -> int:
    """How many points on the Pareto surface; 0 = none."""
    if message.pareto_points and message.optimization_type != "multi_objective":
        faults.add("pareto_points", "belongs to the optimization_type multi_objective")
    return int(faults.limit("pareto_points", message.pareto_points, _POINTS) or 0)


def _read_term(k: int, message: objectives_pb2.ObjectiveTerm, confidence_level: float, faults: Faults) -> TermSpec:
    at = f"terms[{message.name or k}]"
    kind = faults.word(f"{at}.kind", message.kind, TERM_KINDS)
    if message.name:
        faults.name(f"{at}.name", message.name)
    _check_coefficient(f"{at}.coefficient", kind, message.coefficient, faults)
    if kind in FACTOR_TERMS:
        faults.name(f"{at}.factor", message.factor)
    elif message.factor:
        faults.add(f"{at}.factor", f"belongs to the kinds {' and '.join(FACTOR_TERMS)}")
    level = faults.limit(f"{at}.confidence_level", message.confidence_level, OPEN_FRACTION) or confidence_level
    return TermSpec(message.name or kind, kind, message.coefficient, level, message.factor)


def _check_coefficient(field: str, kind: str, coefficient: float, faults: Faults) -> None:
    """The sum must be concave, or no program finds its maximum."""
    if not faults.number(field, coefficient, _COEFFICIENT):
        faults.add(field, "must not be 0")
    if kind in CONVEX_TERMS and coefficient > 0:
        faults.add(field, f"must be negative, not {coefficient:g}: {kind} is convex and can only be made small")
    if kind in CONCAVE_TERMS and coefficient < 0:
        faults.add(field, f"must be positive, not {coefficient:g}: {kind} is concave and can only be made large")
