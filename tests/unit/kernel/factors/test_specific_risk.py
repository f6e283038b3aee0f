"""Moderated specific variances against the published formulas, maximum likelihood and known populations."""

import math

import numpy as np
import pytest
from scipy import optimize, special, stats

from kernel.errors import ProblemError
from kernel.factors.model import RiskSettings
from kernel.factors.specific_risk import specific_risk

PLAIN = RiskSettings(specific_shrinkage=0.0, periods_per_year=1.0)
MODERATED = RiskSettings(periods_per_year=1.0)


def draw(seed=0, periods=60, assets=200, freedom=8.0, location=1e-4):
    """Residuals whose true variances are scaled inverse chi-squared, and these variances."""
    rng = np.random.default_rng(seed)
    true = location * freedom / rng.chisquare(freedom, assets)
    return rng.standard_normal((periods, assets)) * np.sqrt(true), true


def smyth(variances, d):
    """Smyth (2004), section 6.2, with trigamma as the Hurwitz zeta function and its inverse by bisection."""
    logarithms = np.log(variances)
    e = logarithms - special.psi(d / 2) + np.log(d / 2)
    excess = np.sum((e - e.mean()) ** 2) / (len(e) - 1) - special.zeta(2, d / 2)
    if excess <= 0:
        return math.inf, math.exp(e.mean())
    d0 = 2 * optimize.brentq(lambda y: special.zeta(2, y) - excess, 1e-3, 1e12, xtol=1e-13, rtol=1e-14, maxiter=500)
    return d0, math.exp(e.mean() + special.psi(d0 / 2) - np.log(d0 / 2))


@pytest.mark.parametrize(("periods", "freedom"), [(12, 2.0), (60, 8.0), (250, 40.0), (1000, 1.0)])
def test_the_posterior_is_that_of_the_paper(periods, freedom):
    u, _ = draw(periods=periods, freedom=freedom)
    d = periods - 3.0
    found = specific_risk(u, d, MODERATED)
    s2 = (u**2).sum(axis=0) / d
    d0, s02 = smyth(s2, d)
    np.testing.assert_allclose(found.unshrunk, s2, rtol=1e-12)
    np.testing.assert_allclose(found.variances, (d0 * s02 + d * s2) / (d0 + d), rtol=1e-9)
    assert found.shrinkage == pytest.approx(d0 / (d0 + d), rel=1e-9)


def test_the_prior_is_near_the_maximum_of_the_likelihood():
    u, _ = draw(assets=4000, periods=30, freedom=10.0)
    found = specific_risk(u, 30.0, MODERATED)
    s2 = found.unshrunk

    def negative(theta):
        return -stats.f.logpdf(s2, 30.0, math.exp(theta[0]), scale=math.exp(theta[1])).sum()

    best = optimize.minimize(negative, [math.log(5.0), math.log(2e-4)], method="Nelder-Mead")
    d0, s02 = np.exp(best.x)
    assert found.shrinkage == pytest.approx(d0 / (d0 + 30.0), rel=0.1)
    moved = np.abs(found.variances - s2) > 1e-6
    location = (found.variances[moved] - (1 - found.shrinkage) * s2[moved]) / found.shrinkage
    np.testing.assert_allclose(location, s02, rtol=0.05)


def test_moderated_variances_are_nearer_to_the_truth():
    u, true = draw(periods=20, freedom=12.0)
    found = specific_risk(u, 20.0, MODERATED)
    loss = [np.mean(np.log(v / true) ** 2) for v in (found.variances, found.unshrunk)]
    assert loss[0] < 0.75 * loss[1]


def test_variances_that_differ_by_chance_alone_become_one():
    rng = np.random.default_rng(5)
    u = np.sort(rng.standard_normal((50, 2)), axis=0)
    u /= np.linalg.norm(u, axis=0) / np.sqrt([1.0, 1.01])
    found = specific_risk(u, 50.0, MODERATED)
    assert found.shrinkage == 1.0
    assert found.variances[0] == found.variances[1]
    centre = math.exp(special.psi(25) - np.log(25))
    assert found.variances[0] == pytest.approx(math.sqrt(1.01) / 50 / centre, rel=1e-12)


def test_exact_fits_stay_and_say_nothing_of_the_others():
    u, _ = draw(assets=6)
    with_exact = np.column_stack([u[:, :2], np.zeros(60), 1e-18 * u[:, 0], u[:, 2:]])
    found, alone = specific_risk(with_exact, 57.0, MODERATED), specific_risk(u, 57.0, MODERATED)
    assert found.variances[2] == found.variances[3] == found.unshrunk[3] == 0.0
    np.testing.assert_allclose(np.delete(found.variances, [2, 3]), alone.variances, rtol=1e-12)
    assert found.shrinkage == pytest.approx(alone.shrinkage, rel=1e-12)


@pytest.mark.parametrize("settings", [MODERATED, RiskSettings(specific_shrinkage=0.7, periods_per_year=1.0)])
def test_one_asset_or_none_that_moves_has_no_middle(settings):
    u, _ = draw(assets=1)
    found = specific_risk(u, 58.0, settings)
    assert found.shrinkage == 0.0
    assert found.variances == pytest.approx((u**2).sum(axis=0) / 58.0, rel=1e-12)
    still = specific_risk(np.zeros((60, 3)), 58.0, settings)
    assert (still.variances == 0.0).all()
    assert still.shrinkage == 0.0


def test_a_given_shrinkage_mixes_with_the_geometric_mean():
    u, _ = draw(assets=9)
    plain = specific_risk(u, 57.0, PLAIN)
    np.testing.assert_array_equal(plain.variances, plain.unshrunk)
    middle = stats.gmean(plain.unshrunk) * math.exp(math.log(57.0 / 2) - special.psi(57.0 / 2))
    for share in (0.3, 1.0):
        found = specific_risk(u, 57.0, RiskSettings(specific_shrinkage=share, periods_per_year=1.0))
        np.testing.assert_allclose(found.variances, share * middle + (1 - share) * plain.unshrunk, rtol=1e-11)
        assert found.shrinkage == share


def test_half_lives_weigh_the_residuals_and_leave_fewer_degrees_of_freedom():
    u, _ = draw(periods=300)
    weights = 0.5 ** (np.arange(299, -1, -1) / 40)
    weights /= weights.sum()
    found = specific_risk(u, 297.0, RiskSettings(specific_half_life=40.0))
    s2 = 252 * 300 / 297 * (weights @ u**2)
    np.testing.assert_allclose(found.unshrunk, s2, rtol=1e-12)
    d = 297 / 300 / (weights**2).sum()
    d0, s02 = smyth(s2, d)
    np.testing.assert_allclose(found.variances, (d0 * s02 + d * s2) / (d0 + d), rtol=1e-9)
    endless = specific_risk(u, 297.0, RiskSettings(specific_half_life=1e9))
    np.testing.assert_allclose(endless.variances, specific_risk(u, 297.0, RiskSettings()).variances, rtol=1e-6)


def test_the_order_and_the_unit_change_nothing_else():
    u, _ = draw(assets=30)
    found = specific_risk(u, 57.0, MODERATED)
    order = np.random.default_rng(1).permutation(30)
    np.testing.assert_allclose(
        specific_risk(u[:, order], 57.0, MODERATED).variances, found.variances[order], rtol=1e-11
    )
    for unit in (1e-8, 1e6):
        np.testing.assert_allclose(
            specific_risk(unit * u, 57.0, MODERATED).variances, unit**2 * found.variances, rtol=1e-8
        )


@pytest.mark.parametrize(
    ("residuals", "freedom", "settings", "field"),
    [
        (np.full((5, 2), np.nan), 3.0, MODERATED, "returns[0][0]"),
        (np.zeros((5, 0)), 3.0, MODERATED, "returns"),
        (np.ones((5, 2)), 0.0, MODERATED, "degrees_of_freedom"),
        (np.ones((5, 2)), math.nan, MODERATED, "degrees_of_freedom"),
        (np.ones((5, 2)), 3.0, RiskSettings(specific_shrinkage=1.5), "specific_shrinkage"),
        (np.ones((5, 2)), 3.0, RiskSettings(specific_shrinkage=math.nan), "specific_shrinkage"),
        (np.ones((5, 2)), 3.0, RiskSettings(specific_half_life=0.0), "half_life"),
    ],
)
def test_refusals(residuals, freedom, settings, field):
    with pytest.raises(ProblemError) as refusal:
        specific_risk(residuals, freedom, settings)
    assert refusal.value.field == field
