"""A walk-forward validation: an optimization run over the past, each time on what was known then."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from kernel.errors import ProblemError
from kernel.validation.report import Judged, Prediction, Report, ReportSettings, summarize
from kernel.validation.schedule import Dates, Window, purged_windows
from kernel.validation.simulation import Path, Trade, drift, realised, trade
from server.compute.channel import sending
from server.compute.estimate import estimate
from server.compute.inputs import PERIODS_PER_YEAR, Asset, BenchmarkInputs, FactorReturns, Floats, MarketInputs
from server.compute.methods import solve_request
from server.compute.optimization import solver_settings
from server.errors import NotReady
from server.specs import OptimizationSpec
from server.validation_specs import ValidationSpec

_LISTED = 20
# A process is asked for so long, then others have their turn.
_SLICE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class WindowAnswer:
    """One rebalance and what came of it.

    Attributes:
        outcome: How its optimization ended.
        weights: (n + 1,) after the rebalance, cash last.
    """

    place: Window
    outcome: str
    weights: Floats
    judged: Judged
    solve_seconds: float


@dataclass(frozen=True, slots=True)
class ValidationAnswer:
    """All windows, with the days that their places count.

    Attributes:
        names: (n + 1,) assets, cash last.
        settings: The conventions of the report.
    """

    names: tuple[str, ...]
    dates: Dates
    windows: tuple[WindowAnswer, ...]
    report: Report
    settings: ReportSettings

    @property
    def solve_seconds(self) -> float:
        """Time in the solver."""
        return sum(window.solve_seconds for window in self.windows)


@dataclass(frozen=True, slots=True)
class _Decision:
    """What an optimization says; no weights where it has no answer."""

    outcome: str
    weights: Floats | None = None
    prediction: Prediction | None = None


def plan_windows(inputs: MarketInputs, spec: ValidationSpec) -> tuple[Window, ...]:
    """The windows of a validation, and every price that they need is there.

    Raises:
        ProblemError: The history is too short for what is asked.
        NotReady: An asset lacks a price; every one is named with a day.
    """
    windows = purged_windows(inputs.dates, spec.schedule)
    first, last = windows[0].seen_from, windows[-1].stop
    used = inputs.closes[first : last + 1]
    lacking = ~(np.isfinite(used) & (used > 0.0))
    columns = np.flatnonzero(lacking.any(axis=0)).tolist()
    if columns:
        raise NotReady(_lacking(inputs, first, lacking, columns))
    return windows


def run_windows(
    inputs: MarketInputs,
    spec: ValidationSpec,
    done: Sequence[WindowAnswer] = (),
    seconds: float = math.inf,
    found: Callable[[int], None] | None = None,
) -> tuple[WindowAnswer, ...]:
    """Run the windows that are left, in order of time, until they end or the time is over; at least one.

    Args:
        inputs: All days of the pack.
        spec: The validation.
        done: The first windows, from earlier calls.
        seconds: No window is begun after them.
        found: Told after every window how many are done.

    Returns:
        The windows behind those that were done.

    Raises:
        ProblemError, NotReady: A window cannot be posed on its data; its last day is named.
    """
    end = time.monotonic() + seconds
    walk, answers = _Walk(inputs, spec), list[WindowAnswer]()
    for answer in done:
        walk.repeat(answer)
    for window in plan_windows(inputs, spec)[len(done) :]:
        answers.append(walk.step(window))
        if found is not None:
            found(len(done) + len(answers))
        if time.monotonic() >= end:
            break
    return tuple(answers)


def stream_windows(
    inputs: MarketInputs, spec: ValidationSpec, done: Sequence[WindowAnswer], address: str
) -> tuple[WindowAnswer, ...]:
    """Some of the windows that are left, with the number done sent to the channel at `address` after each."""
    with sending(address) as send:
        return run_windows(inputs, spec, done, _SLICE_SECONDS, send)


def conclude(inputs: MarketInputs, spec: ValidationSpec, windows: Sequence[WindowAnswer]) -> ValidationAnswer:
    """What all windows together say."""
    settings = ReportSettings(spec.band, spec.optimization.model.risk_free_rate, PERIODS_PER_YEAR)
    return ValidationAnswer(
        names=inputs.names,
        dates=inputs.dates,
        windows=tuple(windows),
        report=summarize([window.judged for window in windows], settings),
        settings=settings,
    )


class _Walk:
    """The portfolio on its way through time.

    Before the first rebalance it is the current one; afterwards each day has the weights that its close left.
    """

    def __init__(self, inputs: MarketInputs, spec: ValidationSpec) -> None:
        self._inputs, self._spec = inputs, spec
        self._weights = np.tile(inputs.weights_with_cash, (len(inputs.dates), 1))
        self._wealth = np.ones(len(inputs.dates))

    def step(self, window: Window) -> WindowAnswer:
        """Decide, trade at the close of `start`, and go on to `stop`."""
        started = time.perf_counter()
        past = known_inputs(self._inputs, window, self._weights[window.start], self._wealth[window.start])
        decision = _decide(past, self._spec.optimization)
        drifted = self._weights[window.start].copy()
        target = drifted if decision.weights is None else decision.weights
        made = trade(drifted, target, self._spec.cost_rate)
        path = self._go(window, target, made)
        judged = Judged(decision.prediction, made, realised(path, made.cost))
        return WindowAnswer(window, decision.outcome, target, judged, time.perf_counter() - started)

    def repeat(self, answer: WindowAnswer) -> None:
        """Go the way of a window that was decided before."""
        self._go(answer.place, answer.weights, answer.judged.trade)

    def _go(self, window: Window, target: Floats, made: Trade) -> Path:
        path = drift(target, self._returns(window))
        self._require_worth(window, made, path.wealth)
        self._weights[window.start] = target
        self._wealth[window.start] *= 1.0 - made.cost
        judged_days = slice(window.start + 1, window.stop + 1)
        self._weights[judged_days] = path.weights
        self._wealth[judged_days] = self._wealth[window.start] * path.wealth
        return path

    def _returns(self, window: Window) -> Floats:
        """(days, n + 1) simple returns of the days judged; cash earns the risk-free rate."""
        closes = self._inputs.closes[window.start : window.stop + 1]
        daily = self._spec.optimization.model.risk_free_rate / PERIODS_PER_YEAR
        return np.column_stack([closes[1:] / closes[:-1] - 1.0, np.full(window.days, daily)])

    def _require_worth(self, window: Window, made: Trade, wealth: Floats) -> None:
        day = self._inputs.dates[window.start]
        if made.cost >= 1.0:
            raise ProblemError("cost_rate", f"takes {made.cost:.4g} of the portfolio's value on {day}, all there is")
        ruined = np.flatnonzero(wealth <= 0.0)
        if len(ruined):
            lost = self._inputs.dates[window.start + 1 + ruined[0]]
            reason = f"leads to weights on {day} that are worth nothing on {lost}: short positions or debt took it all"
            raise ProblemError("optimization", reason)


def known_inputs(inputs: MarketInputs, window: Window, w: Floats, wealth: float) -> MarketInputs:
    """What was known at the close of the last day seen, and the own holdings at the rebalance: trades start from them.

    Nothing else is later, and no fact of today about an instrument is there.

    Args:
        inputs: All days.
        window: Which of them are seen.
        w: (n + 1,) weights at the rebalance, cash last.
        wealth: Value then, as a multiple of the first one.
    """
    seen = slice(window.seen_from, window.seen_until + 1)
    prices = inputs.closes[window.seen_until].tolist()
    return replace(
        inputs,
        assets=tuple(_known_asset(asset, price) for asset, price in zip(inputs.assets, prices, strict=True)),
        dates=inputs.dates[seen],
        closes=inputs.closes[seen],
        w0=w[:-1].copy(),
        cash_weight=float(w[-1]),
        value=inputs.value * Decimal(repr(float(wealth))),
        benchmark=_known_series(inputs.benchmark, seen),
        market=_known_series(inputs.market, seen),
        factor_sets={
            name: _known_factors(factors, inputs.dates[window.seen_until])
            for name, factors in inputs.factor_sets.items()
        },
    )


def _known_asset(asset: Asset, price: float) -> Asset:
    return replace(
        asset,
        market_cap=None,
        sale_tax_rate=0.0,
        quality_score=None,
        daily_volume=None,
        price=Decimal(repr(price)),
    )


def _known_series(benchmark: BenchmarkInputs | None, seen: slice) -> BenchmarkInputs | None:
    if benchmark is None or benchmark.closes is None:
        return benchmark
    return replace(benchmark, closes=benchmark.closes[seen])


def _known_factors(factors: FactorReturns, day: np.datetime64) -> FactorReturns:
    known = factors.dates <= day
    return replace(factors, dates=factors.dates[known], F=factors.F[known])


def _decide(past: MarketInputs, spec: OptimizationSpec) -> _Decision:
    """Estimate and solve as a call would."""
    try:
        estimated = estimate(past, spec.model)
        solution = solve_request(past, estimated, spec, solver_settings(spec.time_limit_seconds)).solution
    except ProblemError as error:
        raise ProblemError(error.field, f"{error.reason} (optimization of {past.dates[-1]})") from error
    except NotReady as error:
        raise NotReady(f"{error} (optimization of {past.dates[-1]})") from error
    w = solution.weights
    if w is None:
        return _Decision(solution.status.value)
    moments = estimated.moments
    volatility = math.sqrt(max(float(w @ moments.quadratic.times(w)), 0.0))
    return _Decision(solution.status.value, w, Prediction(float(w @ moments.mu), volatility))


def _lacking(inputs: MarketInputs, first: int, lacking: np.ndarray, columns: Sequence[int]) -> str:
    """Which assets have no price on which first day, and from when on all have one."""
    parts = []
    for column in columns[:_LISTED]:
        rows = np.flatnonzero(lacking[:, column])
        count = f" ({len(rows)} days in all)" if len(rows) > 1 else ""
        parts.append(f"{inputs.ids[column]} on {inputs.dates[first + rows[0]]}{count}")
    more = f"; and {len(columns) - _LISTED} more instruments" if len(columns) > _LISTED else ""
    whole = first + int(np.flatnonzero(lacking.any(axis=1))[-1]) + 1
    since = f"; from {inputs.dates[whole]} on there are all prices" if whole < len(inputs.dates) else ""
    return f"{inputs.pricing_pack_id} has no price above zero of {'; '.join(parts)}{more}{since}"
