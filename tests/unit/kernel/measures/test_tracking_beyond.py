"""The tracking error against a benchmark with assets of its own: that over all assets, some of which cannot be held."""

from __future__ import annotations

import numpy as np
import pytest

from kernel.measures.volatility import TrackingError
from kernel.problem import Moments
from kernel.quadratic import Quadratic


@pytest.mark.parametrize("with_diagonal", [True, False])
def test_it_is_that_over_all_assets(with_diagonal: bool) -> None:
    rng = np.random.default_rng(8)
    n, m, k = 6, 5, 3
    factor, specific = rng.normal(size=(k, n + m)), rng.uniform(0.5, 1.5, n + m) * with_diagonal
    Sigma = factor.T @ factor + np.diag(specific)
    quadratic = Quadratic(None, factor[:, :n], specific[:n] if with_diagonal else None)
    moments = Moments(tuple("abcdef"), np.zeros(n), quadratic)
    w, b = rng.normal(size=n), rng.dirichlet(np.ones(n + m))
    own = float(b[n:] ** 2 @ specific[n:])
    error = TrackingError.against_weights_beyond(moments, b[:n], factor[:, n:] @ b[n:], own)
    active = np.append(w, np.zeros(m)) - b
    assert error.of(w) == pytest.approx(np.sqrt(active @ Sigma @ active), rel=1e-12)


def test_the_members_beyond_set_a_floor() -> None:
    """With nothing in common the nearest portfolio is the benchmark's own part, and the rest is left."""
    moments = Moments(("a", "b"), np.zeros(2), Quadratic(None, np.zeros((1, 2)), np.array([0.04, 0.09])))
    inside = np.array([0.5, 0.2])
    error = TrackingError.against_weights_beyond(moments, inside, np.zeros(1), 0.3**2 * 0.16)
    assert error.of(inside) == pytest.approx(0.3 * 0.4, rel=1e-15)
    within = TrackingError.against_weights(moments, inside)
    assert error.of(np.zeros(2)) == pytest.approx(np.hypot(within.of(np.zeros(2)), 0.12), rel=1e-14)
