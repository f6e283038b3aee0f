"""Black-Litterman: the market's equilibrium returns, updated by views.

Convention: ALL returns here are annual and in EXCESS of the risk-free rate, the prior, the views' and the posterior.
A caller with total returns subtracts the rate from an absolute view (weights with sum 1) before, and adds it to the
posterior after; a relative view (weights with sum 0) needs no conversion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kernel.errors import ProblemError
from kernel.estimation.arrays import LARGEST_RETURN, FloatArray, checked_positive, checked_vector, read_only
from kernel.estimation.expected_returns import equilibrium
from kernel.estimation.view_consistency import ViewConsistency, measure_consistency
from kernel.estimation.view_equations import ViewEquations, WhitenedViews, solve_views, whiten

# Relative to the largest variance the legs could add up to: what cancellation leaves of a variance of zero.
RISKLESS_TOLERANCE = 1e-13
# Below this a view's variance would leave the range of the other numbers; such a view says nothing.
SMALLEST_CONFIDENCE = 1e-12
# Annual; keeps a view's variance within the range of the other numbers.
LARGEST_VARIANCE = 1e12


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One opinion: the portfolio with these weights returns so much.

    Attributes:
        name: The caller's name for it, unique.
        weights: (n,) p; one 1 for an absolute view, long and short legs with sum 0 for a relative one.
        expected_return: q, the annual excess return of the portfolio p.
        confidence: In (0, 1], Idzorek's: a single view moves its portfolio this share of the way from prior to view.
            1 is certainty. Excludes ``variance``.
        variance: omega >= 0, the annual variance of the view's error. Excludes ``confidence``.
            With neither given, omega = p' tau Sigma p (He & Litterman), the same as a confidence of 0.5.
    """

    name: str
    weights: FloatArray
    expected_return: float
    confidence: float | None = None
    variance: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BlackLittermanInput:
    """What the model needs.

    Attributes:
        Sigma: (n, n) annual covariance, symmetric PSD.
        market_weights: (n,) sum 1.
        risk_aversion: delta > 0.
        tau: Uncertainty of the prior mean in units of Sigma, > 0; 0.05 in He & Litterman.
        views: Any number of views, none included.
    """

    Sigma: FloatArray
    market_weights: FloatArray
    risk_aversion: float
    tau: float
    views: tuple[View, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ViewReport:
    """What became of one view; returns are annual and in excess of the risk-free rate.

    Where certain views follow from each other, what they bring together is shared by the least-norm solution.

    Attributes:
        name: The view's name.
        net_weight: Sum of p: 1 for an absolute view, 0 for a relative one.
        expected_return: q as given.
        prior_return: p' pi.
        posterior_return: p' of the posterior mean.
        variance: omega as used; 0 for a certain view.
        confidence: In [0, 1], Idzorek's: p' tau Sigma p / (p' tau Sigma p + omega); 1 for a certain view.
        return_changes: (n,) the view's part A_k' z_k of the posterior less the prior, with G z = Q - P pi; over all
            views they add up to it. Read-only.
        tilt: lambda_k / (1 + tau) of He & Litterman: the unconstrained optimal portfolio (delta Sigma_posterior)^-1 mu
            is w_market / (1 + tau) and every p times its tilt. Not zero for a view that repeats the equilibrium, which
            makes its portfolio less uncertain.
        standard_score: (q - p' pi) / sqrt(p' tau Sigma p + omega); 0 for a portfolio without risk.
    """

    name: str
    net_weight: float
    expected_return: float
    prior_return: float
    posterior_return: float
    variance: float
    confidence: float
    return_changes: FloatArray
    tilt: float
    standard_score: float


@dataclass(frozen=True, slots=True, eq=False)
class BlackLittermanPosterior:
    """The market's returns before and after the views; arrays are read-only.

    Attributes:
        prior: (n,) equilibrium excess returns pi.
        posterior: (n,) excess returns after the views.
        Sigma_posterior: (n, n) covariance of returns, Sigma + M.
        M: (n, n) covariance of the posterior mean, PSD up to rounding.
        views: One report per view, in the order given.
        consistency: How well the views agree with the equilibrium and with each other.
    """

    prior: FloatArray
    posterior: FloatArray
    Sigma_posterior: FloatArray
    M: FloatArray
    views: tuple[ViewReport, ...]
    consistency: ViewConsistency


def black_litterman(problem: BlackLittermanInput) -> BlackLittermanPosterior:
    """Posterior moments of the returns given the views, by k x k systems.

    pi = delta Sigma w,  A = P tau Sigma,  G = A P' + Omega
    posterior = pi + A' G^-1 (Q - P pi),   M = tau Sigma - A' G^-1 A,   Sigma_posterior = Sigma + M
    With Idzorek's confidence c, omega = (1/c - 1) p' tau Sigma p. Certain views (omega = 0) hold exactly.

    Args:
        problem: Covariance, market weights, delta, tau and views; returns in excess of the risk-free rate.

    Returns:
        Prior, posterior and a report per view. Without views the posterior is the prior and M = tau Sigma.

    Raises:
        ProblemError: Sizes or numbers out of range (names the view), or certain views that contradict each other or
            the covariance (names them all).

    References:
        Black & Litterman (1992), Global portfolio optimization; He & Litterman (1999), The intuition behind
        Black-Litterman model portfolios; Idzorek (2005), in the closed form of Walters (2014), The Black-Litterman
        model in detail.
    """
    views, tau = problem.views, checked_positive(problem.tau, "tau")
    prior = equilibrium(problem.Sigma, problem.market_weights, problem.risk_aversion)
    P = _view_matrix(views, len(prior))
    A = tau * (P @ problem.Sigma)
    risks = _view_risks(P, A, tau * problem.Sigma.diagonal())
    omega = np.array([_omega(view, float(risk)) for view, risk in zip(views, risks, strict=True)], dtype=np.float64)
    equations = _equations(views, (P, A, risks + omega), prior)
    found = whiten(equations)
    posterior = prior + found.B.T @ found.y
    M = tau * problem.Sigma - found.B.T @ found.B
    stated = _Stated(P, risks, omega, np.column_stack([P @ prior, P @ posterior]))
    tilts = _lambdas(problem, stated, equations) / (1.0 + tau)
    return BlackLittermanPosterior(
        prior,
        read_only(posterior),
        read_only(problem.Sigma + M),
        read_only(M),
        _reports(views, stated, (equations, found), tilts),
        measure_consistency(equations, found),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Stated:
    """The views as matrices: P, p' tau Sigma p, omega, and the returns of P before and after (k, 2)."""

    P: FloatArray
    risks: FloatArray
    omega: FloatArray
    returns: FloatArray


def _lambdas(problem: BlackLittermanInput, stated: _Stated, equations: ViewEquations) -> FloatArray:
    """(k,) lambda = tau/delta [P tau Sigma P'/(1 + tau) + Omega]^-1 (Q - P pi/(1 + tau)); Omega may have zeros."""
    tau = problem.tau
    H = equations.G / (1.0 + tau)
    np.fill_diagonal(H, stated.risks / (1.0 + tau) + stated.omega)
    surprise = equations.gap + stated.returns[:, 0] * (tau / (1.0 + tau))
    return tau / problem.risk_aversion * solve_views(H, surprise)


def _reports(
    views: tuple[View, ...], stated: _Stated, solved: tuple[ViewEquations, WhitenedViews], tilts: FloatArray
) -> tuple[ViewReport, ...]:
    equations, found = solved
    total = stated.risks + stated.omega
    safe = np.where(total > 0, total, 1.0)
    confidence = np.where(stated.omega > 0, stated.risks / safe, 1.0).tolist()
    scores = np.where(total > 0, equations.gap / np.sqrt(safe), 0.0).tolist()
    changes = read_only(equations.A * found.z[:, None])
    return tuple(
        ViewReport(
            name=view.name,
            net_weight=float(stated.P[i].sum()),
            expected_return=view.expected_return,
            prior_return=float(stated.returns[i, 0]),
            posterior_return=float(stated.returns[i, 1]),
            variance=float(stated.omega[i]),
            confidence=confidence[i],
            return_changes=changes[i],
            tilt=float(tilts[i]),
            standard_score=scores[i],
        )
        for i, view in enumerate(views)
    )


def _equations(
    views: tuple[View, ...], rows: tuple[FloatArray, FloatArray, FloatArray], prior: FloatArray
) -> ViewEquations:
    P, A, diagonal = rows
    G = A @ P.T
    G = 0.5 * (G + G.T)
    np.fill_diagonal(G, diagonal)
    Q = np.array([view.expected_return for view in views], dtype=np.float64)
    magnitude = np.abs(Q) + np.abs(P) @ np.abs(prior)
    return ViewEquations(tuple(view.name for view in views), G, A, Q - P @ prior, magnitude)


def _view_risks(P: FloatArray, A: FloatArray, variances: FloatArray) -> FloatArray:
    """(k,) p' tau Sigma p; exactly 0 where only rounding is left, as when perfectly correlated legs cancel."""
    risks = np.einsum("kn,kn->k", A, P)
    largest = np.square(np.abs(P) @ np.sqrt(variances))
    return np.where(risks > RISKLESS_TOLERANCE * largest, risks, 0.0)


def _omega(view: View, risk: float) -> float:
    """The variance of the view's error, given p' tau Sigma p; a confidence of one half when nothing is said."""
    if view.variance is None:
        confidence = 0.5 if view.confidence is None else view.confidence
        return risk * (1.0 - confidence) / confidence
    return view.variance


def _view_matrix(views: tuple[View, ...], n: int) -> FloatArray:
    """(k, n) P, once every view has been checked."""
    names: set[str] = set()
    P = np.zeros((len(views), n))
    for i, view in enumerate(views):
        if view.name in names:
            raise ProblemError(f"views[{view.name}]", "two views have this name; names must be unique")
        names.add(view.name)
        P[i] = _checked_weights(view, n)
        _check_numbers(view)
    return P


def _checked_weights(view: View, n: int) -> FloatArray:
    field = f"views[{view.name}].weights"
    p = checked_vector(view.weights, n, field)
    largest = float(np.abs(p).max())
    if not 0 < largest <= LARGEST_RETURN:
        raise ProblemError(
            field, f"the largest weight is {largest:g}; it must be above 0 and within {LARGEST_RETURN:g}"
        )
    return p


def _check_numbers(view: View) -> None:
    field, q, c, variance = f"views[{view.name}]", view.expected_return, view.confidence, view.variance
    if not (math.isfinite(q) and abs(q) <= LARGEST_RETURN):
        raise ProblemError(f"{field}.expected_return", f"is {q:g}; it must be finite and within {LARGEST_RETURN:g}")
    if c is not None and variance is not None:
        raise ProblemError(field, "has a confidence and a variance; give one of them")
    if c is not None and not SMALLEST_CONFIDENCE <= c <= 1:
        raise ProblemError(
            f"{field}.confidence", f"is {c:g}; it must be above 0 (from {SMALLEST_CONFIDENCE:g}) and at most 1"
        )
    if variance is not None and not 0 <= variance <= LARGEST_VARIANCE:
        raise ProblemError(
            f"{field}.variance", f"is {variance:g}; it must be at least 0 and within {LARGEST_VARIANCE:g}"
        )
