"""Entropy pooling: views on a distribution that change the scenarios' probabilities as little as possible.

Conventions: R holds simple returns per period; means, volatilities and margins are annual with h periods a year (mean
h E r, volatility sqrt(h E (r - m)^2)); a CVaR is a loss per period.

A volatility is linear in the probabilities only around a fixed mean, a correlation only with fixed volatilities too. As
in sequential entropy pooling they are taken from the views themselves: expected returns from the posterior of the views
on means, rankings and CVaR, volatilities from the posterior with the views on volatilities beside them. The posterior
of all views then keeps these, so that every view holds for its own mean and volatility. Without other views they are
the prior's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kernel.errors import ProblemError
from kernel.estimation.arrays import FloatArray, checked_positive, checked_returns, checked_vector, read_only
from kernel.estimation.distribution_views import DistributionView, checked_views
from kernel.estimation.relative_entropy import TOLERANCE, Conditions
from kernel.estimation.tail_views import TailCondition, TailTilt, conditional_value_at_risk, tilt_with_tails

# Relative to the returns' size: less is a return that is the same in all scenarios.
_CONSTANT = 1e-12
_SUM_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class EntropyPoolingInput:
    """What entropy pooling needs.

    Attributes:
        R: (T, n) simple returns per period.
        p: (T,) prior probabilities, >= 0, sum 1.
        periods_per_year: h.
        views: One or more.
    """

    R: FloatArray
    p: FloatArray
    periods_per_year: float
    views: tuple[DistributionView, ...]


@dataclass(frozen=True, slots=True)
class DistributionViewReport:
    """What became of one view.

    Attributes:
        name: Of the view.
        value: As stated.
        prior_value: Under the prior; of a ranking the smallest difference of neighbours.
        posterior_value: Under the posterior.
        entropy_without: Relative entropy that the other views alone have; None where they cannot hold without it.
        multiplier: Change of the relative entropy per unit of the value; None where a later stage keeps moments that
            would change with it.
    """

    name: str
    value: float
    prior_value: float
    posterior_value: float
    entropy_without: float | None
    multiplier: float | None


@dataclass(frozen=True, slots=True, eq=False)
class EntropyPosterior:
    """Probabilities under the views.

    Attributes:
        p: (T,) sum 1, read-only; 0 where the prior is.
        relative_entropy: sum p log(p / p0) >= 0.
        gap: By which a lower relative entropy is not ruled out, by weak duality, with what is kept.
        violation: Largest distance of a view's value from what it states, in the view's unit.
        effective_scenarios: exp(-sum p log p).
        tilts: Smallest and largest p / p0.
        views: One report per view, in the order given.
    """

    p: FloatArray
    relative_entropy: float
    gap: float
    violation: float
    effective_scenarios: float
    tilts: tuple[float, float]
    views: tuple[DistributionViewReport, ...]


@dataclass(frozen=True, slots=True)
class Contradiction:
    """No probabilities of the scenarios meet the views, and that is proven.

    Of views on volatilities and correlations it is proven for probabilities that keep what these keep.

    Attributes:
        views: Names of an irreducible set that cannot hold together: without any of them the others can.
        sentence: What cannot hold.
    """

    views: tuple[str, ...]
    sentence: str


def entropy_pooling(problem: EntropyPoolingInput) -> EntropyPosterior | Contradiction:
    """The probabilities nearest to the prior under which all views hold.

    min sum p log(p / p0)  s.t. the views on p, and what volatilities and correlations keep; global also for CVaR

    Args:
        problem: Returns, prior and views.

    Returns:
        The posterior with its certificate and a report per view, or which views contradict each other.

    Raises:
        ProblemError: Sizes or numbers out of range, or views at the edge of what the scenarios allow.

    References:
        Meucci (2008), Fully flexible views; Meucci, Ardia & Keel (2011), Fully flexible extreme views; Vorobets (2021),
        Sequential entropy pooling heuristics.
    """
    pool = _Pool.of(problem)
    views = checked_views(problem.views, pool.R.shape[1])
    found = pool.solve(views)
    if found is None:
        return _contradiction(pool, views)
    p0, p = pool.p0, found.tails.tilt.p
    reports = tuple(_report(pool, views, k, found) for k in range(len(views)))
    posterior = np.zeros(len(problem.p))
    posterior[problem.p > 0.0] = p
    tilts = p / p0
    logs = np.log(np.where(p > 0.0, p, 1.0))
    return EntropyPosterior(
        p=read_only(posterior / posterior.sum()),
        relative_entropy=found.tails.tilt.entropy,
        gap=max(found.tails.tilt.entropy - found.tails.tilt.bound, 0.0),
        violation=max(_violation(view, report) for view, report in zip(views, reports, strict=True)),
        effective_scenarios=float(np.exp(-(p @ logs))),
        tilts=(float(tilts.min()), float(tilts.max())),
        views=reports,
    )


# Views on means and tails come first.
_STAGES = {"volatility": 1, "correlation": 2}

# The view that a linear condition belongs to, None for a mean or volatility that is kept, and the change of the
# condition's target per unit of the view's value.
_Owner = tuple[int | None, float]


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A solution, and the owners of its linear conditions."""

    tails: TailTilt
    owners: tuple[_Owner, ...]

    def price(self, view: int, tail: int | None) -> float:
        """Change of the entropy per unit of the view's value."""
        if tail is not None:
            return float(self.tails.tail_prices[tail])
        owned = np.array([rate if owner == view else 0.0 for owner, rate in self.owners])
        return float(self.tails.tilt.prices @ owned)


class _Rows:
    """Conditions as they are collected, each with its owner."""

    def __init__(self, T: int) -> None:
        self.conditions = Conditions.none(T)
        self.owners: list[_Owner] = []

    def add(self, a: FloatArray, b: float, sense: str, owner: _Owner) -> None:
        """One more."""
        self.conditions = self.conditions.also(a, b, sense)
        self.owners.append(owner)

    def keep(self, a: FloatArray, b: float) -> float:
        """Fix E[a], at b unless a condition that holds with equality stands on it already.

        By rounding the two could contradict each other, and they would share one multiplier.
        """
        known = self.conditions
        for i, sense in enumerate(known.senses):
            if np.array_equal(known.A[:, i], a) and (sense == "=" or abs(b - known.b[i]) <= TOLERANCE * np.std(a)):
                self.conditions = replace(known, senses=(*known.senses[:i], "=", *known.senses[i + 1 :]))
                return float(known.b[i])
        self.add(a, b, "=", (None, 0.0))
        return b


@dataclass(frozen=True, slots=True, eq=False)
class _Pool:
    """The scenarios of positive probability."""

    R: FloatArray
    p0: FloatArray
    h: float

    @classmethod
    def of(cls, problem: EntropyPoolingInput) -> _Pool:
        R = checked_returns(problem.R, minimum_periods=1)
        p = checked_vector(problem.p, len(R), "p")
        if float(p.min()) < 0.0 or abs(float(p.sum()) - 1.0) > _SUM_TOLERANCE:
            raise ProblemError("p", f"must be 0 or more and add up to 1; the least is {p.min():g}, the sum {p.sum():g}")
        kept = p > 0.0
        return cls(R[kept], p[kept] / p[kept].sum(), checked_positive(problem.periods_per_year, "periods_per_year"))

    def legs(self, view: DistributionView) -> FloatArray:
        """(T, m) returns of the view's combinations."""
        return np.column_stack([self.R @ leg for leg in view.legs])

    def solve(self, views: tuple[DistributionView, ...]) -> _Found | None:
        """All views together; None where they are proven to contradict each other."""
        rows = _Rows(len(self.p0))
        for k, view in enumerate(views):
            self._add_means(rows, k, view)
        tails = tuple(
            TailCondition(-self.legs(view)[:, 0], view.confidence_level, view.value, view.sense)
            for view in views
            if view.kind == "cvar"
        )
        stages = [
            [(k, view) for k, view in enumerate(views) if view.kind == kind] for kind in ("volatility", "correlation")
        ]
        found = tilt_with_tails(self.p0, rows.conditions, tails)
        for stage, add in zip(stages, (self._add_volatility, self._add_correlation), strict=True):
            if found is None:
                return None
            p = found.tilt.p
            for k, view in stage:
                add(rows, k, view, p)
            if stage:
                found = tilt_with_tails(self.p0, rows.conditions, tails)
        return None if found is None else _Found(found, tuple(rows.owners))

    def _add_means(self, rows: _Rows, k: int, view: DistributionView) -> None:
        X = self.legs(view) if view.kind in ("mean", "ranking") else np.zeros((0, 0))
        if view.kind == "mean":
            rows.add(X[:, 0], view.value / self.h, view.sense, (k, 1.0 / self.h))
        elif view.kind == "ranking":
            for i in range(X.shape[1] - 1):
                rows.add(X[:, i] - X[:, i + 1], view.value / self.h, ">=", (k, 1.0 / self.h))

    def _add_volatility(self, rows: _Rows, k: int, view: DistributionView, p: FloatArray) -> None:
        """The second moment around the mean that is kept."""
        x = self.legs(view)[:, 0]
        mean = rows.keep(x, float(p @ x))
        rows.add((x - mean) ** 2, view.value**2 / self.h, view.sense, (k, 2.0 * view.value / self.h))

    def _add_correlation(self, rows: _Rows, k: int, view: DistributionView, p: FloatArray) -> None:
        """The mixed moment, with both means and volatilities kept."""
        X, size = self.legs(view), 1.0
        for i, x in enumerate(X.T):
            X[:, i] = x - rows.keep(x.copy(), float(p @ x))
            variance = float(p @ X[:, i] ** 2)
            if variance <= (_CONSTANT * float(np.abs(self.R).max())) ** 2:
                raise ProblemError(f"views[{view.name}]", "is on an instrument with the same return in all scenarios")
            size *= np.sqrt(rows.keep(X[:, i] ** 2, variance))
        rows.add(X.prod(axis=1), view.value * size, view.sense, (k, size))

    def value(self, view: DistributionView, p: FloatArray) -> float:
        """What the view is about, under probabilities."""
        X = self.legs(view)
        means = p @ X
        match view.kind:
            case "mean":
                return self.h * float(means[0])
            case "ranking":
                return self.h * float((means[:-1] - means[1:]).min())
            case "cvar":
                return conditional_value_at_risk(-X[:, 0], p, view.confidence_level)
            case "volatility":
                return float(np.sqrt(self.h * (p @ (X[:, 0] - means[0]) ** 2)))
            case _:
                spread = np.sqrt(p @ (X - means) ** 2).prod()
                return float(p @ (X - means).prod(axis=1) / spread) if spread > 0.0 else 0.0


def _report(pool: _Pool, views: tuple[DistributionView, ...], k: int, found: _Found) -> DistributionViewReport:
    view = views[k]
    tail = sum(other.kind == "cvar" for other in views[:k]) if view.kind == "cvar" else None
    return DistributionViewReport(
        name=view.name,
        value=view.value,
        prior_value=pool.value(view, pool.p0),
        posterior_value=pool.value(view, found.tails.tilt.p),
        entropy_without=_entropy_of(pool, (*views[:k], *views[k + 1 :])),
        multiplier=None if _moves_what_is_kept(views, k, found) else found.price(k, tail),
    )


def _moves_what_is_kept(views: tuple[DistributionView, ...], k: int, found: _Found) -> bool:
    """Whether moments that a later stage keeps follow from the view: its multiplier is then a part of its price."""
    stages = [_STAGES.get(view.kind, 0) for view in views]
    return stages[k] < max(stages) and any(owner is None for owner, _ in found.owners)


def _entropy_of(pool: _Pool, views: tuple[DistributionView, ...]) -> float | None:
    if not views:
        return 0.0
    try:
        found = pool.solve(views)
    except ProblemError:
        return None
    return None if found is None else found.tails.tilt.entropy


def _violation(view: DistributionView, report: DistributionViewReport) -> float:
    excess = report.posterior_value - view.value
    return {"=": abs(excess), "<=": max(excess, 0.0), ">=": max(-excess, 0.0)}[view.sense]


def _contradiction(pool: _Pool, views: tuple[DistributionView, ...]) -> Contradiction:
    """An irreducible contradictory set: views are left out one by one while the rest still contradict each other."""
    left = views
    for view in views:
        fewer = tuple(other for other in left if other is not view)
        if fewer and _contradicts(pool, fewer):
            left = fewer
    names = tuple(view.name for view in left)
    under = f"under any probabilities of the scenarios{_kept(left)}"
    if len(left) > 1:
        said = ", ".join(repr(name) for name in names)
        return Contradiction(names, f"{said} cannot hold together {under}")
    return Contradiction(names, f"{names[0]!r} cannot hold {under}{_reach(pool, left[0])}")


def _kept(views: tuple[DistributionView, ...]) -> str:
    """What the probabilities are bound to keep beside the views: others could meet them with another mean."""
    kinds = {view.kind for view in views}
    if "correlation" in kinds:
        return " with the expected returns and volatilities that correlations keep"
    return " with the expected returns that volatilities keep" if "volatility" in kinds else ""


def _contradicts(pool: _Pool, views: tuple[DistributionView, ...]) -> bool:
    try:
        return pool.solve(views) is None
    except ProblemError:
        return False


def _reach(pool: _Pool, view: DistributionView) -> str:
    """What the scenarios allow, for kinds of which it is plain."""
    if view.kind not in ("mean", "cvar"):
        return ""
    x, factor = (pool.legs(view)[:, 0], pool.h) if view.kind == "mean" else (-pool.legs(view)[:, 0], 1.0)
    low, high = factor * float(x.min()), factor * float(x.max())
    return f", which reach from {low:.6g} to {high:.6g}; it states {view.value:.6g}"
