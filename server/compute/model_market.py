"""The data of a factor model: instruments, prices and factors, cut to the window and to what is complete in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kernel.estimation.arrays import LARGEST_RETURN, BoolArray
from kernel.estimation.data_checks import CheckSettings, Code, Finding, Severity, check_prices, usable
from server.compute.inputs import FactorReturns, Floats
from server.errors import NotReady
from server.factor_specs import FactorModelSpec
from server.listing import listed

Days = npt.NDArray[np.datetime64]
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class GivenExposures:
    """A stored set of factor exposures: (k,) factors, (m,) instruments, (m, k) exposures."""

    id: str
    factors: tuple[str, ...]
    instrument_ids: tuple[str, ...]
    B: Floats


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ModelMarket:
    """What a factor model can be estimated from.

    Attributes:
        ids: Instruments that may be chosen: at least those named, or all of the pack that are no index.
        dates: (T + 1,) days of the pack, ascending.
        closes: (T + 1, n) prices; NaN = none that day.
        sectors: (n,) empty = none.
        market_caps, quality_scores: (n,) NaN = not known.
        factors: The whole set, for a time-series model.
        exposures: The whole set, for a cross-sectional model that names one.
    """

    pricing_pack_id: str
    ids: tuple[str, ...]
    dates: Days
    closes: Floats
    sectors: tuple[str, ...]
    market_caps: Floats
    quality_scores: Floats
    factors: FactorReturns | None = None
    exposures: GivenExposures | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ModelWindow:
    """Complete data of a window.

    Attributes:
        ids: (n,) in their order.
        columns: (n,) of the market.
        closes: (T + 1, n) prices, all of them there.
        days: (T',) days of the returns that count: those that the factors have, too, and that span no other of theirs.
        R: (T', n) simple returns.
        F: (T', k) factor returns of those days; k = 0 without any.
        growth: (n,) price on the last day over the last sound price of the market, 1 where the window ends today.
        findings: What was noticed, and what was left out.
    """

    ids: tuple[str, ...]
    columns: Rows
    closes: Floats
    days: Days
    R: Floats
    F: Floats
    growth: Floats
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Days:
    """Rows of the market's and of the factors' returns that count, and a finding on those that do not."""

    rows: Rows
    factor_rows: Rows
    findings: tuple[Finding, ...] = ()


def model_window(market: ModelMarket, spec: FactorModelSpec, factors: FactorReturns | None, needed: int) -> ModelWindow:
    """Cut the data to the window.

    A named instrument must have all its prices in it; without names those that have are taken, and the others are
    named in the findings. First and last date are those of returns.

    Args:
        market: The data.
        spec: Names instruments and window.
        factors: Whose days count, cut to the factors needed; None = only those of the prices.
        needed: The fewest returns.

    Raises:
        NotReady: The history is too short, or instruments are not complete; they are named.
    """
    order = _chosen(market, spec)
    rows = np.flatnonzero(np.isfinite(market.closes[:, order]).any(axis=1))
    dates, closes = market.dates[rows], market.closes[np.ix_(rows, order)]
    found = _days(dates, spec, factors)
    if len(found.rows) < needed:
        raise NotReady(_too_short(market, spec, factors, f"{len(found.rows)}; at least {needed} are needed"))
    first, last = int(found.rows[0]), int(found.rows[-1]) + 1
    dates, closes = dates[first : last + 1], closes[first : last + 1]
    ids = tuple(market.ids[i] for i in order)
    kept, findings = _complete(market, spec, ids, _Prices(dates, closes))
    closes, columns = closes[:, kept], order[kept]
    with np.errstate(over="ignore"):
        R = closes[1:] / closes[:-1] - 1.0
        growth = closes[-1] / _last_prices(market.closes[:, columns])
    window = ModelWindow(
        ids=tuple(ids[i] for i in kept),
        columns=columns,
        closes=closes,
        days=dates[1:][found.rows - first],
        R=R[found.rows - first],
        F=np.zeros((len(found.rows), 0)) if factors is None else factors.F[found.factor_rows],
        growth=growth,
        findings=(*found.findings, *findings),
    )
    _check_returns(window)
    return window


def _chosen(market: ModelMarket, spec: FactorModelSpec) -> Rows:
    """Columns of the instruments named, or of all, in the order of their ids."""
    place = {name: i for i, name in enumerate(market.ids)}
    if missing := [name for name in spec.instrument_ids if name not in place]:
        raise NotReady(f"pricing pack {market.pricing_pack_id} has no prices of {listed(missing)}")
    return np.array([place[name] for name in sorted(spec.instrument_ids or market.ids)], dtype=np.intp)


def _days(dates: Days, spec: FactorModelSpec, factors: FactorReturns | None) -> _Days:
    """Days of returns within the window that the factors have; the last so many of them for a look-back.

    A return over more days than the factors' on its last day is none of theirs.
    """
    days = dates[1:]
    wanted = np.ones(len(days), dtype=np.bool_)
    if spec.first_date:
        wanted &= days >= np.datetime64(spec.first_date, "D")
    if spec.last_date:
        wanted &= days <= np.datetime64(spec.last_date, "D")
    rows = np.flatnonzero(wanted)
    look_back = slice(-spec.lookback_days, None) if spec.lookback_days else slice(None)
    if factors is None:
        return _Days(rows[look_back], rows[:0])
    longer = np.searchsorted(factors.dates, days) > np.searchsorted(factors.dates, dates[:-1], side="right")
    complete = np.flatnonzero(np.isfinite(factors.F).all(axis=1))
    _, common, places = np.intersect1d(days[rows], factors.dates[complete], assume_unique=True, return_indices=True)
    fits = ~longer[rows[common]]
    rows, factor_rows = rows[common][fits][look_back], complete[places][fits][look_back]
    return _Days(rows, factor_rows, _skipped(days, rows, longer, factors.id))


def _skipped(days: Days, rows: Rows, longer: BoolArray, set_id: str) -> tuple[Finding, ...]:
    """Findings on the days inside the window that the factors lack, and on returns that span more days than theirs."""
    if not len(rows):
        return ()
    skipped = np.setdiff1d(np.arange(rows[0], rows[-1] + 1), rows)
    lacking, spanning = skipped[~longer[skipped]], skipped[longer[skipped]]
    findings = []
    if len(lacking):
        message = f"factor set {set_id} lacks {len(lacking)} days of the window, which are not used"
        findings.append(_left_out(days[lacking], message))
    if len(spanning):
        message = f"{len(spanning)} returns span days of factor set {set_id} without prices and are not used"
        findings.append(_left_out(days[spanning], message))
    return tuple(findings)


def _left_out(days: Days, message: str) -> Finding:
    return Finding(Code.LEFT_OUT, None, days[0].item(), f"{message}: {listed(map(str, days))}")


def _too_short(market: ModelMarket, spec: FactorModelSpec, factors: FactorReturns | None, count: str) -> str:
    bounds = f" from {spec.first_date or 'the first day'} to {spec.last_date or 'the last one'}"
    window = bounds if spec.first_date or spec.last_date else ""
    if factors is None:
        return f"the number of returns of pricing pack {market.pricing_pack_id}{window} is {count}"
    both = f"that pricing pack {market.pricing_pack_id} and factor set {factors.id} have in common"
    return f"the number of days{window} {both} is {count}"


@dataclass(frozen=True, slots=True, eq=False)
class _Prices:
    """Prices of a window."""

    dates: Days
    closes: Floats


def _complete(
    market: ModelMarket, spec: FactorModelSpec, ids: tuple[str, ...], prices: _Prices
) -> tuple[Rows, tuple[Finding, ...]]:
    """The instruments to take, and what was noticed about them and all others."""
    findings = check_prices(ids, prices.dates, prices.closes, CheckSettings(min_observations=2))
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    where = f"prices in {market.pricing_pack_id} from {prices.dates[0]} to {prices.dates[-1]}"
    if errors and spec.instrument_ids:
        raise NotReady(f"{where} cannot be used: {_sentences(errors)}")
    sound = set(usable(ids, findings))
    if market.exposures is not None:
        sound, findings = _exposed(market.exposures, spec, sound, findings)
    kept = np.array([i for i, name in enumerate(ids) if name in sound], dtype=np.intp)
    if not len(kept):
        raise NotReady(f"{where} are complete for no instrument: {_sentences(errors) or 'there is none'}")
    return kept, findings


def _exposed(
    exposures: GivenExposures, spec: FactorModelSpec, sound: set[str], findings: tuple[Finding, ...]
) -> tuple[set[str], tuple[Finding, ...]]:
    """The sound instruments that have given exposures."""
    lacking = sorted(sound - set(exposures.instrument_ids))
    if lacking and spec.instrument_ids:
        raise NotReady(f"factor exposures {exposures.id} have none of {listed(lacking)}")
    if lacking and len(lacking) == len(sound):
        raise NotReady(f"factor exposures {exposures.id} have none of the instruments with complete prices")
    absent = [Finding(Code.LEFT_OUT, name, None, f"{name} has no exposures in {exposures.id}") for name in lacking]
    return sound - set(lacking), (*findings, *absent)


def _sentences(findings: list[Finding]) -> str:
    messages = [finding.message for finding in findings]
    return "; ".join(messages[:20]) + (f"; and {len(messages) - 20} more" if len(messages) > 20 else "")


def _last_prices(closes: Floats) -> Floats:
    """(n,) the last price of each that is finite and above 0; each has one."""
    sound = np.isfinite(closes) & (closes > 0.0)
    rows = len(closes) - 1 - np.argmax(sound[::-1], axis=0)
    return np.asarray(np.take_along_axis(closes, rows[None, :], axis=0)[0], dtype=np.float64)


def _check_returns(window: ModelWindow) -> None:
    """No return may be so large that its square loses all digits of the others."""
    bad = ~(np.abs(window.R) <= LARGEST_RETURN)
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        name, day = window.ids[column], window.days[row]
        raise NotReady(f"{name} has a return of {window.R[row, column]:g} on {day}; the limit is {LARGEST_RETURN:g}")
