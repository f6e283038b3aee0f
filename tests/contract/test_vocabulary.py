"""The words of the contract's text fields and the fields that carry the same words."""

from portfolio_optimization.v1.constraints_pb2 import RiskLimits
from portfolio_optimization.v1.estimation_pb2 import ExpectedReturnsMethod, RiskModelMethod

from kernel.measures.registry import MEASURES
from server.convert.models import RETURNS_METHODS, RISK_METHODS
from server.vocabulary import CONCAVE_TERMS, CONVEX_TERMS, DRAWDOWNS, RISK_MEASURES, TERM_KINDS


def test_every_measure_of_the_kernel_is_known() -> None:
    assert set(MEASURES) == set(RISK_MEASURES.served)
    assert {word for word, definition in MEASURES.items() if definition.needs_order} == set(DRAWDOWNS)


def test_every_measure_has_a_limit() -> None:
    fields = {field.name for field in RiskLimits.DESCRIPTOR.fields}
    assert fields == {f"max_{word.removeprefix('max_')}" for word in MEASURES}


def test_every_estimator_has_a_word() -> None:
    for kind, methods in ((ExpectedReturnsMethod, RETURNS_METHODS), (RiskModelMethod, RISK_METHODS)):
        assert set(methods.values()) == {number for number in kind.values() if number}


def test_every_term_bends_one_way() -> None:
    assert not set(CONVEX_TERMS) & set(CONCAVE_TERMS)
    assert {*CONVEX_TERMS, *CONCAVE_TERMS} <= set(TERM_KINDS.served)
