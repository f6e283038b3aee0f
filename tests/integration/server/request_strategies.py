"""Optimizations of the sample portfolio that are right in themselves: limits that may contradict, moments, views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from portfolio_optimization.v1 import common_pb2, estimation_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb

from server.vocabulary import HIERARCHIES, OBJECTIVES, OPTIMIZATION_TYPES
from tests.integration.server.message_strategies import FACTORS, NAMES, SECTORS

Draw = Callable[[st.SearchStrategy[Any]], Any]

# Objectives of several terms belong to kinds of optimization of their own.
_OF_ONE_RISK = tuple(word for word in OBJECTIVES.served if word not in OPTIMIZATION_TYPES.served)
# Types that imply their goal and need no field of their own.
METHODS = (
    "maximum_diversification",
    "most_decorrelated",
    "equal_weight",
    "inverse_volatility",
    "risk_parity",
    *HIERARCHIES,
)
_FRACTIONS = st.integers(0, 100).map(lambda k: k / 100)
_SMALL = st.integers(0, 40).map(lambda k: k / 400)
_TURNOVER_DEFINITIONS = (common_pb2.TURNOVER_DEFINITION_ONE_WAY, common_pb2.TURNOVER_DEFINITION_TWO_WAY)
# From a hair to beyond anything that a market shows.
_SCALES = (1e-300, 1e-12, 1e-6, 0.01, 0.04, 1.0, 1e6, 1e11, 1e12)
_RETURNS = (-0.9, -0.05, 0.0, 1e-12, 0.02, 0.05, 0.1, 0.3, 5.0, 1e6, 1e12)


@st.composite
def limits(draw: Draw) -> pb.OptimizationConstraints:
    """Limits that are each in order."""
    message = pb.OptimizationConstraints()
    _position_limits(draw, message)
    if _sometimes(draw):
        message.max_sector_exposure = draw(st.sampled_from((0.1, 0.2, 0.3, 0.5)))
    for sector in draw(st.lists(st.sampled_from(SECTORS), max_size=1)):
        message.sector_limits[sector].minimum = draw(_SMALL)
        message.sector_limits[sector].maximum = message.sector_limits[sector].minimum + draw(_FRACTIONS) / 2
    if _sometimes(draw):
        message.max_turnover = draw(st.sampled_from((0.02, 0.05, 0.1, 0.2, 0.5, 1.0)))
        message.turnover_definition = draw(st.sampled_from(_TURNOVER_DEFINITIONS))
    if _sometimes(draw):
        message.target_volatility = draw(st.integers(11, 40)) / 100
    if draw(st.booleans()):
        message.min_cash_weight = draw(_SMALL)
        message.max_cash_weight = message.min_cash_weight + draw(_FRACTIONS) / 2
    return message


def _position_limits(draw: Draw, message: pb.OptimizationConstraints) -> None:
    largest = draw(st.sampled_from((0.0, 0.06, 0.1, 0.2, 0.5, 1.0)))
    message.max_position_size = largest
    if draw(st.integers(0, 7)) == 0:
        message.min_position_size = draw(st.sampled_from((0.01, 0.02, 0.04)))
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=2, unique=True)):
        message.min_weights[name] = min(draw(_SMALL), largest or 1.0)
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=2, unique=True)):
        message.max_weights[name] = max(draw(_SMALL), message.min_weights.get(name, 0.0))


def _sometimes(draw: Draw) -> bool:
    return bool(draw(st.integers(0, 2)) == 0)


@st.composite
def constrained(draw: Draw) -> pb.CreateOptimizationRequest:
    """Optimizations under limits."""
    message = pb.CreateOptimizationRequest(
        portfolio_id="sample-growth",
        optimization_type="mean_variance",
        objective=draw(st.sampled_from(_OF_ONE_RISK)),
        constraints=draw(limits()),
    )
    message.preferences.risk_aversion = draw(st.sampled_from((0.0, 0.5, 3.0, 50.0)))
    message.preferences.include_transaction_costs = _sometimes(draw)
    message.preferences.consider_tax_implications = _sometimes(draw)
    if _sometimes(draw):
        message.risk_free_rate = draw(st.sampled_from((-0.01, 0.0, 0.05, 0.15, 0.5)))
    candidates = draw(st.one_of(st.just([]), st.lists(st.sampled_from(NAMES), min_size=10, unique=True)))
    message.instrument_ids.extend(candidates)
    for name in set(message.constraints.min_weights) - set(candidates or NAMES):
        del message.constraints.min_weights[name]
    return message


@st.composite
def extreme(draw: Draw) -> pb.CreateOptimizationRequest:
    """Optimizations whose moments or views are far from any market's."""
    message: pb.CreateOptimizationRequest = draw(constrained())
    message.time_limit_seconds = draw(st.sampled_from((0.0, 5e-324, 0.01, 0.5)))
    message.preferences.risk_aversion = draw(st.sampled_from((5e-324, 1e-9, 1.0, 1e9, 1.7e308)))
    message.risk_free_rate = draw(st.sampled_from((-0.999, 0.0, 0.02, 10.0, 1e9, 1.7e308)))
    message.lookback_days = draw(st.sampled_from((0, 2, 5, 19, 252, 2**32 - 1)))
    if draw(st.booleans()):
        message.risk_model.CopyFrom(draw(_risk()))
    kind = draw(st.integers(0, 2))
    if kind == 0:
        message.optimization_type = "black_litterman"
        message.black_litterman.CopyFrom(draw(_opinions()))
    elif kind == 1:
        message.expected_returns.method = estimation_pb2.EXPECTED_RETURNS_METHOD_PROVIDED
        for name in NAMES:
            message.expected_returns.values[name] = draw(st.sampled_from(_RETURNS))
    return message


@st.composite
def by_factors(draw: Draw, factor_model_id: str) -> pb.CreateOptimizationRequest:
    """Optimizations under limits, some by a stored factor model, which often is the risk and the returns too."""
    message: pb.CreateOptimizationRequest = draw(constrained())
    limits = message.constraints
    limits.factor_model_id = factor_model_id
    for factor in draw(st.lists(st.sampled_from(FACTORS), max_size=3, unique=True)):
        limit = limits.factor_limits.add(factor=factor, relative_to_benchmark=draw(st.booleans()))
        limit.minimum = draw(st.sampled_from((-0.3, -0.05, 0.0, 0.02, 0.4)))
        limit.maximum = limit.minimum + draw(st.sampled_from((0.0, 0.05, 0.6)))
    if draw(st.booleans()):
        message.risk_model.method = estimation_pb2.RISK_MODEL_METHOD_FACTOR_MODEL
        message.risk_model.factor_model_id = factor_model_id
        if _sometimes(draw):
            limits.max_tracking_error = draw(st.sampled_from((0.01, 0.05, 0.2)))
    if draw(st.booleans()):
        message.expected_returns.method = estimation_pb2.EXPECTED_RETURNS_METHOD_FACTOR_MODEL
        message.expected_returns.factor_model_id = factor_model_id
        for factor in draw(st.lists(st.sampled_from(FACTORS), max_size=2)):
            message.expected_returns.factor_premia[factor] = draw(st.sampled_from((-1.0, -0.02, 0.0, 0.05, 10.0)))
    return message


@st.composite
def with_factor_budgets(draw: Draw, factor_model_id: str) -> pb.CreateOptimizationRequest:
    """The same with shares of factors in the variance, whose risk model is that of the factors."""
    message: pb.CreateOptimizationRequest = draw(by_factors(factor_model_id))
    message.risk_model.method = estimation_pb2.RISK_MODEL_METHOD_FACTOR_MODEL
    message.risk_model.factor_model_id = factor_model_id
    message.constraints.min_position_size, message.time_limit_seconds = 0.0, 2.0
    for factor in draw(st.lists(st.sampled_from(FACTORS), min_size=1, max_size=3, unique=True)):
        message.constraints.risk_budgets.add(factor=factor, max_share=draw(st.sampled_from((1e-9, 0.05, 0.3, 1.0))))
    return message


@st.composite
def by_method(draw: Draw, whole: st.SearchStrategy[pb.CreateOptimizationRequest]) -> pb.CreateOptimizationRequest:
    """The same requests for types that are not one mean-risk program.

    Smallest positions are left out: among the many ties of a rule's weights their search may end at its limit of time.
    """
    message: pb.CreateOptimizationRequest = draw(whole)
    message.optimization_type, message.objective = draw(st.sampled_from(METHODS)), ""
    message.constraints.min_position_size = 0.0
    message.ClearField("black_litterman")
    return message


@st.composite
def _risk(draw: Draw) -> estimation_pb2.RiskModel:
    n, scale = len(NAMES), draw(st.sampled_from(_SCALES))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    shape = draw(st.sampled_from(("zero", "ones", "diagonal", "low rank", "mixed scales", "indefinite")))
    root = rng.standard_normal((n, 2 if shape == "low rank" else 2 * n))
    scales = np.power(10.0, rng.uniform(-5, 5, n)) if shape == "mixed scales" else np.ones(n)
    matrices = {"zero": np.zeros((n, n)), "ones": np.ones((n, n)), "diagonal": np.diag(rng.uniform(size=n))}
    matrix = matrices.get(shape, root @ root.T / n * np.outer(scales, scales))
    if shape == "indefinite":
        matrix = matrix - draw(st.sampled_from((1e-12, 1e-6, 0.1, 3.0))) * np.eye(n)
        np.fill_diagonal(matrix, np.abs(matrix.diagonal()))
    message = estimation_pb2.RiskModel(method=estimation_pb2.RISK_MODEL_METHOD_PROVIDED)
    message.covariance.instrument_ids.extend(NAMES)
    with np.errstate(over="ignore", under="ignore"):
        message.covariance.values.extend((matrix * scale).ravel().tolist())
    message.max_repair_distance = draw(st.sampled_from((0.0, 1e-3, 1.0)))
    return message


@st.composite
def _opinions(draw: Draw) -> estimation_pb2.BlackLitterman:
    message = estimation_pb2.BlackLitterman()
    message.tau = draw(st.sampled_from((1e-9, 0.05, 1.0, 1e12, 1.7e308)))
    message.risk_aversion = draw(st.sampled_from((1e-12, 2.5, 1e9, 1.7e308)))
    for _ in range(draw(st.integers(1, 4))):
        view = message.views.add(expected_return=draw(st.sampled_from((*_RETURNS, 1.7e308))))
        for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3)):
            view.weights[name] = draw(st.sampled_from((1.0, -1.0, 0.5, 1e-300, 1e12, 1.7e308)))
        kind = draw(st.integers(0, 2))
        if kind == 1:
            view.confidence = draw(st.sampled_from((5e-324, 1e-12, 0.3, 1.0)))
        elif kind == 2:
            view.variance = draw(st.sampled_from((5e-324, 1e-12, 0.01, 1e12, 1.7e308)))
    return message
