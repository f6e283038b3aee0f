"""The assets that a hierarchy arranges, with what their risk is measured on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from kernel.canonical import Matrix, Vector
from kernel.errors import ProblemError
from kernel.measures.base import RiskMeasure
from kernel.measures.registry import MeasureSettings, make_measure
from kernel.problem import Moments
from kernel.quadratic import Indices, Quadratic
from kernel.scenarios import Scenarios

# Of the largest risk among the assets: less is the rounding of none.
_RISKLESS = 1e-9
_ALONE = ("portfolio",)


@dataclass(frozen=True)
class Universe:
    """Assets in the order of their names.

    Attributes:
        moments: Of the n assets.
        scenarios: Of the same assets.
        risk_measure: A word of `kernel.measures.registry`.
        settings: Of the measure.
    """

    moments: Moments
    scenarios: Scenarios
    risk_measure: str = "volatility"
    settings: MeasureSettings = field(default_factory=MeasureSettings)

    @property
    def names(self) -> tuple[str, ...]:
        """(n,) the assets."""
        return self.moments.names

    @property
    def of_covariance(self) -> bool:
        """Whether the measure is one of the covariance alone."""
        return self.risk_measure in ("volatility", "variance")

    def of(self, kept: Indices) -> Universe:
        """The universe of some of the assets, in the order given."""
        moments, scenarios = self.moments, self.scenarios
        if np.array_equal(kept, np.arange(moments.n)):
            return self
        names = tuple(moments.names[i] for i in kept)
        return replace(
            self,
            moments=Moments(names, moments.mu[kept], moments.quadratic.restricted(kept)),
            scenarios=replace(scenarios, names=names, R=scenarios.R[:, kept]),
        )

    def held_as(self, portfolios: Matrix, names: tuple[str, ...]) -> Universe:
        """The universe whose assets are the k portfolios in the columns of `portfolios` (n, k)."""
        Sigma = portfolios.T @ np.column_stack([self.moments.quadratic.times(column) for column in portfolios.T])
        return replace(
            self,
            moments=Moments(names, portfolios.T @ self.moments.mu, Quadratic((Sigma + Sigma.T) / 2.0)),
            scenarios=replace(self.scenarios, names=names, R=self.scenarios.R @ portfolios),
        )

    @cached_property
    def measure(self) -> RiskMeasure:
        """The risk measure."""
        return make_measure(self.risk_measure, self.moments, self.scenarios, self.settings)

    def risk_of_returns(self, r: Vector) -> float:
        """The risk of a portfolio by its returns (T,) in the scenarios, for measures of scenarios."""
        alone = Moments(_ALONE, np.zeros(1), Quadratic(np.zeros((1, 1))))
        scenarios = replace(self.scenarios, names=_ALONE, R=r[:, None])
        return make_measure(self.risk_measure, alone, scenarios, self.settings).of(np.ones(1))

    @cached_property
    def own_risks(self) -> Vector:
        """(n,) risk of each asset alone, > 0.

        Raises:
            ProblemError: An asset has no risk, or a negative one.
        """
        if self.of_covariance:
            variances = self.moments.quadratic.diagonal_entries
            risks = variances if self.risk_measure == "variance" else np.sqrt(variances)
        else:
            risks = np.array([self.risk_of_returns(r) for r in np.array(self.scenarios.R.T)])
        for i in np.flatnonzero(~(risks > _RISKLESS * np.abs(risks).max())).tolist():
            reason = f"{self.names[i]} has a {self.risk_measure} of {risks[i]:.3g}: a share in inverse proportion"
            raise ProblemError("risk_measure", f"{reason} to its risk has no meaning")
        return np.asarray(risks)


def in_order(moments: Moments, scenarios: Scenarios, kept: Indices) -> Indices:
    """The assets `kept`, put into the order of their names.

    Raises:
        ProblemError: There are none, a name repeats, or the scenarios are of other assets.
    """
    if scenarios.names != moments.names:
        raise ProblemError("scenarios", "must be of the same assets, in the same order, as the expected returns")
    if len(kept) == 0:
        raise ProblemError("universe", "has no asset that may be held, so there is nothing to arrange")
    order = np.array(sorted(kept.tolist(), key=lambda i: moments.names[i]), dtype=np.intp)
    names = [moments.names[i] for i in order]
    for name, after in pairwise(names):
        if name == after:
            raise ProblemError("universe", f"names {name} twice")
    return order
