"""Factor models whose exposures are given, are styles or are sectors, and whose factor returns are estimated by day."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from kernel.errors import ProblemError
from kernel.estimation.arrays import LARGEST_RETURN, FloatArray, centred, read_only
from kernel.factors.cross_section import CrossSection, SectionFit, fit_sections
from kernel.factors.factor_moments import factor_covariance_of
from kernel.factors.industries import NO_SECTOR, Industries, industries_of, industry_definition
from kernel.factors.model import EstimatedModel, FactorModel, RiskSettings
from kernel.factors.panel import Panel
from kernel.factors.specific_risk import specific_risk
from kernel.factors.styles import StyleExposures, style_definition, style_exposures

WEIGHTINGS = ("usual", "square_root_market_cap", "equal", "inverse_specific_variance")
# Without a choice of factors. With fewer, their returns are mostly noise of single instruments, and extreme exposures
# carry it into risk.
_INSTRUMENTS_PER_FACTOR = 3
# No instrument counts more than this many times the middle one by its inverse variance.
_LARGEST_WEIGHT = 100.0
# Of the norm of an instrument's returns: a residual below this is the rounding of an exact fit, and no risk.
_EXACT_FIT = 1e-12


@dataclass(frozen=True, slots=True)
class CrossSectionSettings:
    """What a cross-sectional model is made of.

    Attributes:
        styles: Names, without repetition; None = all that the data allow. Then sectors, and styles from the last, are
            left out until there are three instruments for every factor.
        industries: Whether sectors are factors.
        weighting: One of `WEIGHTINGS`; ``usual`` = by the square root of the capitalisation where all are known.
        winsorization: Standard deviations at which styles are cut.
    """

    styles: tuple[str, ...] | None = None
    industries: bool = True
    weighting: str = "usual"
    winsorization: float = 3.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CrossSectional:
    """A cross-sectional model and what it was made of.

    Attributes:
        estimated: The model; its exposures are those of the last day, for the returns of the next.
        kinds: (k,) ``market``, ``style``, ``industry`` or ``given``.
        definitions: (k,) one sentence each.
        left_out: What was not asked for by name and cannot be used, with the reason.
        styles: The styles used.
        industries: Whether sectors are factors.
        weighting: How instruments count; never ``usual``.
        warm_up: Returns before the first that is explained.
    """

    estimated: EstimatedModel
    kinds: tuple[str, ...]
    definitions: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    styles: tuple[str, ...]
    industries: bool
    weighting: str
    warm_up: int


@dataclass(frozen=True, slots=True, eq=False)
class _Chosen:
    """Factors, and what was left out."""

    styles: StyleExposures
    industries: Industries
    left_out: tuple[tuple[str, str], ...]


def cross_sectional_model(panel: Panel, settings: CrossSectionSettings, risk: RiskSettings) -> CrossSectional:
    """Returns of factors by weighted regression of each day's returns on the exposures of the day before.

    With styles or sectors the market is a factor too. With sectors, their returns weighted by capitalisation add up to
    0 on every day. alpha is the mean residual, r_squared = 1 - sum (u - alpha)^2 / sum (r - mean r)^2 over the days,
    which is below 0 where the factors explain less than nothing, and 0 for a price that does not move.
    Specific variances rest on u - alpha with T' - 1 degrees of freedom. What a regression of few instruments takes from
    a residual is not added again: it is in the returns of the factors, and with weights that fit the residuals both
    parts are uncorrelated and add up to the whole risk.
    Inverse specific variances are those of all days: the weights, not the exposures, are seen with later knowledge.

    Args:
        panel: Prices and facts of the instruments.
        settings: Factors and weights.
        risk: How covariance and specific variances are made.

    Returns:
        The model with its evidence.

    Raises:
        ProblemError: A factor that was asked for cannot be computed, is a combination of others, nearly so, or comes
            twice, there are too few instruments or days, or the weights cannot be computed.

    References:
        Menchero, Orr & Wang (2011), The Barra US equity model (USE4), methodology notes; Grinold & Kahn (2000),
        Active portfolio management, chapter 3.
    """
    weighting = _weighting(panel, settings.weighting)
    chosen = _chosen(panel, settings)
    section = _section(panel, chosen, market=settings.styles is None)
    _check_counts(panel, section, chosen.styles.warm_up)
    R = panel.returns[chosen.styles.warm_up :]
    weights = _weights(section, R, weighting)
    fit = fit_sections(section, R, weights if weights.ndim == 1 else weights[:-1])
    _check_sizes(section, fit.F)
    kinds, definitions = zip(*_described(panel, section, settings.winsorization), strict=True)
    return CrossSectional(
        estimated=_estimated(panel, section, fit, weights, risk),
        kinds=kinds,
        definitions=definitions,
        left_out=chosen.left_out,
        styles=section.style_names,
        industries=bool(section.industry_names),
        weighting=weighting,
        warm_up=chosen.styles.warm_up,
    )


def _estimated(
    panel: Panel, section: CrossSection, fit: SectionFit, weights: FloatArray, risk: RiskSettings
) -> EstimatedModel:
    T = len(fit.F)
    R = panel.returns[-T:]
    exact = np.linalg.norm(fit.residuals, axis=0) <= _EXACT_FIT * np.linalg.norm(R, axis=0)
    residuals = np.where(exact, 0.0, fit.residuals)
    alpha = residuals.mean(axis=0)
    u = centred(residuals)
    specific = specific_risk(u, T - 1.0, risk)
    last = section.weighted(T, weights if weights.ndim == 1 else weights[-1])
    model = FactorModel(
        section.factors, panel.names, section.exposures(T), factor_covariance_of(fit.F, risk), specific.variances
    )
    return EstimatedModel(
        model=model,
        F=fit.F,
        alpha=read_only(alpha * risk.periods_per_year),
        standard_errors=None,
        r_squared=read_only(_r_squared(R, u)),
        unshrunk=specific.unshrunk,
        shrinkage=specific.shrinkage,
        condition_number=last.condition_number(),
        variance_inflation=read_only(last.variance_inflation()),
        diagnostics={
            "cross_section_r_squared": fit.r_squared,
            "degrees_of_freedom": T - 1.0,
            "instruments_per_factor": len(panel.names) / section.rank,
            "warm_up_days": float(len(panel.closes) - 1 - T),
        },
    )


def _r_squared(R: FloatArray, u: FloatArray) -> FloatArray:
    total = np.square(centred(R)).sum(axis=0)
    moves = total > 0.0
    explained = 1.0 - np.square(u).sum(axis=0) / np.where(moves, total, 1.0)
    return np.where(moves, explained, 0.0)


def _weighting(panel: Panel, word: str) -> str:
    """The weighting in place of ``usual``."""
    if word not in WEIGHTINGS:
        raise ProblemError("weighting", f"{word} is not known; it may be {', '.join(WEIGHTINGS)}")
    missing = panel.without_cap
    if word == "usual":
        return "equal" if missing.any() else "square_root_market_cap"
    if word == "square_root_market_cap" and missing.any():
        raise ProblemError("weighting", f"the market capitalisation of {panel.some(missing)} is not known")
    return word


def _weights(section: CrossSection, R: FloatArray, weighting: str) -> FloatArray:
    """(n,) or, where they change from day to day, (T + 1, n) weights above 0; the last row is that of the last day."""
    equal = np.ones(R.shape[1])
    if weighting == "square_root_market_cap":
        return np.asarray(np.sqrt(section.shares), dtype=np.float64)
    if weighting == "equal":
        return equal
    variances = fit_sections(section, R, equal).residuals.var(axis=0)
    middle = float(np.median(variances))
    return middle / np.maximum(variances, middle / _LARGEST_WEIGHT) if middle > 0.0 else equal


def _chosen(panel: Panel, settings: CrossSectionSettings) -> _Chosen:
    """Styles and sectors: as asked for, or all that prices, facts and the number of instruments allow."""
    styles = style_exposures(panel, settings.styles, settings.winsorization)
    industries = industries_of(panel.sectors or ("",) * len(panel.names) if settings.industries else ())
    chosen = _Chosen(styles, industries, styles.left_out)
    if len(industries.names) == 1:
        only = industries.names[0]
        reason = "no instrument has a sector" if only == NO_SECTOR else f"all instruments are in one sector, {only}"
        if settings.styles is not None:
            raise ProblemError("industries", reason)
        chosen = replace(chosen, industries=industries_of(()), left_out=(*chosen.left_out, ("industries", reason)))
    if settings.styles is None:
        while (surplus := _surplus(panel, chosen)) is not None:
            chosen = _without(panel, chosen, *surplus, cut=settings.winsorization)
    return chosen


def _surplus(panel: Panel, chosen: _Chosen) -> tuple[str, str] | None:
    """A factor that the instruments cannot bear, and why; sectors go first, then the last style."""
    section = _section(panel, chosen, market=True)
    names, n = section.style_names, len(panel.names)
    last = "industries" if section.industry_names else "".join(names[-1:])
    if last and n < _INSTRUMENTS_PER_FACTOR * section.rank:
        return last, f"{n} instruments are too few for {section.rank} factors, they should be three times as many"
    if n <= section.rank:
        return None
    try:
        for day in range(section.styles.shape[1]):
            section.weighted(day, np.ones(n))
    except ProblemError as error:
        dependent = [name for name in names if error.field == f"factors[{name}]"]
        if not dependent:
            raise
        return dependent[0], error.reason
    return None


def _without(panel: Panel, chosen: _Chosen, what: str, reason: str, *, cut: float) -> _Chosen:
    left_out = (*chosen.left_out, (what, reason))
    if what == "industries":
        return replace(chosen, industries=industries_of(()), left_out=left_out)
    kept = tuple(name for name in chosen.styles.names if name != what)
    return replace(chosen, styles=style_exposures(panel, kept, cut), left_out=left_out)


def _section(panel: Panel, chosen: _Chosen, *, market: bool) -> CrossSection:
    given = panel.given
    industries = chosen.industries
    n = len(panel.names)
    return CrossSection(
        market=market or bool(chosen.styles.names or industries.names),
        style_names=chosen.styles.names,
        styles=chosen.styles.X,
        industry_names=industries.names,
        industries=industries.X.reshape(n, len(industries.names)),
        given_names=given.factors if given else (),
        given=given.B if given else np.zeros((n, 0)),
        shares=panel.shares_by_day()[chosen.styles.warm_up :],
    )


def _check_counts(panel: Panel, section: CrossSection, warm_up: int) -> None:
    factors = section.factors
    if not factors:
        raise ProblemError("factors", "there are none: neither styles, nor sectors, nor loaded exposures")
    if twice := sorted({name for name in factors if factors.count(name) > 1}):
        raise ProblemError(f"factors[{twice[0]}]", "is the name of two factors")
    n, k, T = len(panel.names), len(factors), len(panel.closes) - 1
    count = f"{k} factors" if k > 1 else "1 factor"
    if n <= section.rank:
        raise ProblemError("instruments", f"at least {section.rank + 1} are needed for {count}; {n} given")
    # With fewer days their covariance would be singular.
    needed = warm_up + k + 2
    if needed > T:
        raise ProblemError("window", f"at least {needed} returns are needed for {count}; {T} given")


def _check_sizes(section: CrossSection, F: FloatArray) -> None:
    largest = np.abs(F).max(axis=0)
    for name, size in zip(section.factors, largest.tolist(), strict=True):
        if size > LARGEST_RETURN:
            reason = "its exposures are too small, or nearly a combination of those to others"
            raise ProblemError(f"factors[{name}]", f"earns {size:g} on a day: {reason}")


def _described(panel: Panel, section: CrossSection, cut: float) -> Iterator[tuple[str, str]]:
    """Kind and definition of every factor."""
    capitalised = not panel.without_cap.any()
    if section.market:
        counted = "by market capitalisation" if capitalised else "with all instruments alike"
        condition = f"; the returns of the sectors, {counted}, add up to 0" if section.industry_names else ""
        yield "market", f"The market: every instrument has exposure 1{condition}."
    for name in section.style_names:
        yield "style", style_definition(name, cut, capitalised=capitalised)
    for name, exposures in zip(section.industry_names, section.industries.T, strict=True):
        members = [instrument for instrument, x in zip(panel.names, exposures, strict=True) if x]
        yield "industry", industry_definition(name, members)
    for _ in section.given_names:
        yield "given", "Loaded exposures, the same on every day."
