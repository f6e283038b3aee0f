"""Plans on made markets, and the same plans written directly for cvxpy: the independent judge."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cvxpy as cp
import numpy as np
import numpy.typing as npt

from kernel.constraints import Constraint, ExposureBudget, LinearLimit, RiskLimit, WeightBounds, budget
from kernel.costs import TradingCost
from kernel.measures.volatility import Volatility
from kernel.multi_period import HoldingRates, Period, Plan
from kernel.objectives import MaximizeReturn, MaximizeUtility, MinimizeRisk, Objective
from kernel.problem import Moments

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """What a plan is asked for; numbers in lists are those of the periods, the last of them of all that follow."""

    n: int = 6
    H: int = 3
    seed: int = 0
    aversion: float = 4.0
    goal: str = "utility"
    days: tuple[float, ...] = (21.0,)
    flows: tuple[float, ...] = (0.0,)
    turnover: float | None = None
    volatility: tuple[float, ...] = ()
    sector: float | None = None
    trade: float | None = None
    rate: float = 0.0
    impact: float = 0.0
    holding: float = 0.0
    borrow: float = 0.0
    tax: float = 0.0
    shorts: bool = False
    gross: float | None = None
    cash: float = 0.4
    least: float | None = None
    terminal: Floats | None = None
    mus: tuple[Floats, ...] = field(default=())

    @property
    def names(self) -> tuple[str, ...]:
        return (*(f"A{i}" for i in range(self.n)), "CASH")

    def period(self, values: tuple[float, ...], h: int) -> float:
        return values[min(h, len(values) - 1)]

    def years(self, h: int) -> float:
        return self.period(self.days, h) / 252.0

    def mu(self, h: int) -> Floats:
        if self.mus:
            return self.mus[min(h, len(self.mus) - 1)]
        rng = np.random.default_rng((self.seed, h))
        return np.append(rng.normal(0.08, 0.08, self.n), 0.03)

    def Sigma(self, h: int) -> Floats:  # noqa: N802
        rng = np.random.default_rng((self.seed, 99))
        B = 0.15 * rng.normal(size=(self.n, 3))
        inner = (1.0 + 0.2 * h) * (B @ B.T + np.diag(rng.uniform(0.01, 0.06, self.n)))
        return np.pad(0.5 * (inner + inner.T), (0, 1))

    @property
    def w0(self) -> Floats:
        rng = np.random.default_rng((self.seed, 7))
        return np.append(rng.dirichlet(np.ones(self.n)) * 0.9, 0.1)

    @property
    def bounds(self) -> tuple[Floats, Floats]:
        low = np.append(np.full(self.n, -0.3 if self.shorts else 0.0), 0.0)
        return low, np.append(np.full(self.n, 0.6), self.cash)

    @property
    def members(self) -> Floats:
        return np.append((np.arange(self.n) < self.n // 2).astype(float), 0.0)

    @property
    def objective(self) -> Objective:
        match self.goal:
            case "utility":
                return MaximizeUtility(self.aversion)
            case "return":
                return MaximizeReturn()
            case _:
                return MinimizeRisk(self.aversion)


def plan_of(case: Case) -> Plan:
    """The kernel's plan."""
    flat = np.append(np.ones(case.n), 0.0)
    charged = case.rate or case.impact or case.tax
    trading = TradingCost(
        case.rate * flat,
        case.w0,
        sale_rates=case.tax * flat if case.tax else None,
        impact=case.impact * flat if case.impact else None,
    )
    return Plan(
        periods=tuple(_period(case, h) for h in range(case.H)),
        w0=case.w0,
        objective=case.objective,
        trading=trading if charged else None,
        holding=HoldingRates(case.holding, case.borrow),
        largest_trades=None if case.trade is None else (("max_trade_size",) * (case.n + 1), case.trade / flat_or(flat)),
        terminal=case.terminal,
    )


def flat_or(flat: Floats) -> Floats:
    """Ones, and next to nothing for cash, whose trades are not limited."""
    return np.where(flat > 0.0, flat, 1e-300)


def _period(case: Case, h: int) -> Period:
    moments = Moments(case.names, case.mu(h), case.Sigma(h))
    return Period(
        years=case.years(h),
        moments=moments,
        measure=Volatility(moments),
        constraints=tuple(limits(case, h, moments)),
        cash_flow=case.period(case.flows, h),
        max_turnover=case.turnover,
        target_return=case.least,
    )


def limits(case: Case, h: int, moments: Moments) -> list[Constraint]:
    """The limits on the weights of one period."""
    low, high = case.bounds
    floor = tuple(f"min_weights[{name}]" if case.shorts else "long_only" for name in case.names)
    ceiling = (*("max_position_size",) * case.n, "max_cash_weight")
    found: list[Constraint] = [WeightBounds(low, high, floor, ceiling), budget(case.n + 1)]
    if case.sector is not None:
        found.append(LinearLimit(case.members, -np.inf, case.sector, "sector", "sector"))
    if case.gross is not None:
        members = np.append(np.ones(case.n, dtype=bool), False)
        found.append(ExposureBudget("max_gross_leverage", "gross", case.gross, members))
    if case.volatility:
        found.append(RiskLimit("target_volatility", Volatility(moments), case.period(case.volatility, h)))
    return found


def judged(case: Case) -> tuple[float, Floats]:
    """The best value by cvxpy, and the weights of all periods."""
    W = cp.Variable((case.H, case.n + 1))
    cash = np.eye(case.n + 1)[-1]
    low, high = case.bounds
    value, before, gain, rules = 1.0, case.w0, 0.0, []
    for h in range(case.H):
        w, tau, flow = W[h], case.years(h), case.period(case.flows, h)
        value += flow
        z = value * w - before - flow * cash
        d = z[: case.n]
        cost = case.rate * cp.norm1(d) + case.impact * cp.sum(cp.power(cp.abs(d), 1.5))
        if h == 0:
            cost += case.tax * cp.sum(cp.neg(d))
        held = w[: case.n]
        cost += tau * value * (case.holding * cp.norm1(held) + case.borrow * cp.sum(cp.neg(held)))
        risk = cp.norm(np.linalg.cholesky(case.Sigma(h)[:-1, :-1]).T @ held)
        net, half = case.mu(h) @ w, 0.5 * case.aversion * cp.square(risk)
        gain += {"utility": tau * value * (net - half), "return": tau * value * net, "risk": -tau * value * half}[
            case.goal
        ]
        gain -= cost
        rules += [cp.sum(w) == 1, w >= low, w <= high]
        if case.turnover is not None:
            rules.append(0.5 * cp.norm1(z) <= case.turnover * value)
        if case.trade is not None:
            rules.append(cp.abs(d) <= case.trade * value)
        if case.sector is not None:
            rules.append(case.members @ w <= case.sector)
        if case.gross is not None:
            rules.append(cp.norm1(held) <= case.gross)
        if case.volatility:
            rules.append(risk <= case.period(case.volatility, h))
        if case.least is not None:
            rules.append(net - cost / (tau * value) >= case.least)
        before = value * w
    if case.terminal is not None:
        rules.append(W[case.H - 1] == case.terminal)
    problem: Any = cp.Problem(cp.Maximize(gain), rules)
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    assert problem.status in ("optimal", "optimal_inaccurate"), problem.status
    return float(problem.value), np.asarray(W.value)
