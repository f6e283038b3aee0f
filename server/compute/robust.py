"""Robust requests: the sets that they ask for, the problem at the worst of them, and the worst at the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kernel.canonical import Mask
from kernel.problem import Settings
from kernel.robust.counterpart import UncertaintySets, counterpart, optimize_robust
from kernel.robust.covariances import BoxOfCovariances, CovarianceSet, EllipsoidOfCovariances
from kernel.robust.distributions import WassersteinBall
from kernel.robust.evidence import WorstCase, worst_case
from kernel.robust.factor_covariances import FactorCovariances
from kernel.robust.means import BoxOfMeans, EllipsoidOfMeans, MeanSet
from kernel.robust.sample import Sample
from server.compute.bounds import holdable
from server.compute.estimate import Estimate
from server.compute.factor_window import factor_window
from server.compute.inputs import Floats, MarketInputs
from server.compute.problem import build_problem
from server.compute.solved import Solved
from server.method_specs import CovarianceSetSpec, DistributionSetSpec, MeanSetSpec, RobustSpec
from server.specs import OptimizationSpec


@dataclass(frozen=True, slots=True)
class RobustEvidence:
    """The worst case at the answer, and the size of the sets.

    Attributes:
        names: (n + 1,) assets, cash last.
        weights: (n + 1,) of the answer.
        radii: Sizes of the sets by part: ``mean``, ``covariance``, ``distribution``.
        observations: Returns from which they were derived; of unequal probabilities the effective number.
        factor_days: Days of the regressions behind a set of factor covariances; None without one.
    """

    case: WorstCase
    names: tuple[str, ...]
    weights: Floats
    radii: Mapping[str, float]
    observations: float
    factor_days: int | None = None


@dataclass(frozen=True, slots=True)
class _Ground:
    """What sets are made of."""

    inputs: MarketInputs
    estimated: Estimate
    spec: OptimizationSpec
    uncertain: Mask
    T: float

    def sample(self, confidence: float) -> Sample:
        """The sample behind a set of this confidence."""
        moments, periods = self.estimated.moments, self.estimated.scenarios.periods_per_year
        return Sample(moments.Sigma, self.uncertain, self.T, periods, confidence)


def solve_robust(inputs: MarketInputs, estimated: Estimate, spec: OptimizationSpec, settings: Settings) -> Solved:
    """The best portfolio at the worst of the sets.

    Raises:
        NotReady: Factors and instruments have too few days in common.
        ProblemError: Something asked for cannot be posed.
    """
    ground = _ground(inputs, estimated, spec)
    problem, sets = build_problem(inputs, estimated, spec), _sets(ground)
    solution, robust = optimize_robust(problem, sets, settings), counterpart(problem, sets)
    if solution.weights is None:
        return Solved(robust, solution)
    parts = {"mean": sets.mean, "covariance": sets.covariance, "distribution": sets.distribution}
    evidence = RobustEvidence(
        case=worst_case(problem, sets, solution.weights),
        names=inputs.names,
        weights=solution.weights,
        radii={name: part.radius for name, part in parts.items() if part is not None},
        observations=ground.T,
        factor_days=_factor_days(ground) if isinstance(sets.covariance, FactorCovariances) else None,
    )
    return Solved(robust, solution, evidence)


def _ground(inputs: MarketInputs, estimated: Estimate, spec: OptimizationSpec) -> _Ground:
    """Cash and what may not be held are certain."""
    p = estimated.scenarios.p
    return _Ground(inputs, estimated, spec, holdable(inputs, spec.constraints), 1.0 / float(p @ p))


def _sets(ground: _Ground) -> UncertaintySets:
    asked = ground.spec.method
    assert isinstance(asked, RobustSpec)
    return UncertaintySets(
        uncertain=ground.uncertain,
        mean=None if asked.mean is None else _mean_set(ground, asked.mean),
        covariance=None if asked.covariance is None else _covariance_set(ground, asked.covariance),
        distribution=None if asked.distribution is None else _ball(ground, asked.distribution),
    )


def _mean_set(ground: _Ground, asked: MeanSetSpec) -> MeanSet:
    if asked.half_widths:
        return BoxOfMeans(np.array([asked.half_widths.get(name, 0.0) for name in ground.inputs.names]))
    sample = ground.sample(asked.confidence)
    return BoxOfMeans.of_sample(sample) if asked.shape == "box" else EllipsoidOfMeans.of_sample(sample, asked.radius)


def _covariance_set(ground: _Ground, asked: CovarianceSetSpec) -> CovarianceSet:
    moments = ground.estimated.moments
    if asked.shape == "factor":
        days = _factor_days(ground)
        return FactorCovariances.of_regressions(moments, ground.uncertain, days, asked.confidence)
    sample = ground.sample(asked.confidence)
    if asked.shape == "ellipsoid":
        return EllipsoidOfCovariances.of_sample(moments, sample, asked.metric, asked.radius)
    if asked.relative_half_width is not None:
        return BoxOfCovariances.relative(moments, ground.uncertain, asked.relative_half_width)
    return BoxOfCovariances.of_sample(moments, sample)


def _ball(ground: _Ground, asked: DistributionSetSpec) -> WassersteinBall:
    if asked.radius is None:
        return WassersteinBall.of_sample(ground.sample(asked.confidence), asked.norm)
    return WassersteinBall(asked.radius, asked.norm, ground.uncertain, ground.estimated.scenarios.periods_per_year)


def _factor_days(ground: _Ground) -> int:
    """Days that the regressions on the factors rest on."""
    risk, inputs = ground.spec.model.risk, ground.inputs
    if risk.factor_model_id:
        return len(inputs.factor_models[risk.factor_model_id].F)
    return len(factor_window(inputs, risk.factor_set_id, ground.estimated.R[:, :-1]).R)
