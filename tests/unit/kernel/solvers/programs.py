"""Large programs from seeded markets, and what independent solvers say of them."""

from __future__ import annotations

from functools import cache

import cvxpy as cp
import numpy as np

from kernel.builder import ProgramBuilder
from kernel.canonical import Cone, Matrix, Program, Vector
from kernel.constraints import LinearLimit, WeightBounds, budget

WORDS = ("cvar", "mad", "semi_deviation", "worst")
TAIL = 0.1
SECTORS = 7


@cache
def returns(T: int, n: int, seed: int = 3) -> Matrix:
    """(T, n) a market factor, fat-tailed specific returns, one asset in three with a drift."""
    rng = np.random.default_rng(seed)
    market = 0.01 * rng.standard_t(5, (T, 1))
    specific = rng.standard_t(5, (T, n)) * rng.uniform(0.005, 0.02, n)
    drift = 0.001 * (np.arange(n) % 3 == 0)
    R = drift + market * rng.normal(1.0, 0.3, n) + specific
    R.flags.writeable = False
    return R


def invested(n: int, cap: float, *, homogeneous: bool = False, sectors: bool = False) -> ProgramBuilder:
    """Weights in [0, cap] that add up to one, each sector at most a quarter."""
    builder = ProgramBuilder(n, homogeneous=homogeneous)
    budget(n).add_to(builder)
    WeightBounds(np.zeros(n), np.full(n, cap), ("low",) * n, ("high",) * n).add_to(builder)
    for k in range(SECTORS if sectors else 0):
        member = (np.arange(n) % SECTORS == k).astype(float)
        LinearLimit(member, -np.inf, 0.25, f"sector {k} low", f"sector {k} high").add_to(builder)
    return builder


def add_risk(builder: ProgramBuilder, R: Matrix, p: Vector, word: str) -> tuple[slice, Vector]:
    """A risk of the returns as a linear form over one place of the variables."""
    T = len(R)
    if word == "worst":
        x = builder.add_variables(1)
        below = [(builder.weights, -R), (x, np.full((T, 1), -1.0))]
        builder.add_rows(("definition",) * T, Cone.NONNEGATIVE, below, np.zeros(T))
        return x, np.ones(1)
    if word == "cvar":
        total, x = builder.add_variables(1), builder.add_variables(1)
        u = builder.add_hinges([(builder.weights, -R), (x, np.full((T, 1), -1.0))], np.zeros(T))
        one = np.ones((1, 1))
        mean = [(x, one), (u, p[None, :] / TAIL), (total, -one)]
        builder.add_rows(("definition",), Cone.NONNEGATIVE, mean, np.zeros(1))
        return total, np.ones(1)
    u = builder.add_hinges([(builder.weights, p @ R - R)], np.zeros(T))
    if word == "mad":
        return u, 2.0 * p
    return builder.add_norm([(u, np.diag(np.sqrt(p)))], np.zeros(T)), np.ones(1)


def least_risk(R: Matrix, p: Vector, word: str, cap: float, *, ratio: bool = False) -> Program:
    """Least risk; as a ratio, at a unit of expected return."""
    builder = invested(R.shape[1], cap, homogeneous=ratio)
    place, coefficients = add_risk(builder, R, p, word)
    builder.minimize_linear(place, coefficients)
    if ratio:
        builder.add_normalisation("return", [(builder.weights, (p @ R)[None, :])])
    return builder.build()


def highest_return(R: Matrix, p: Vector, word: str, cap: float, limit: float) -> Program:
    """Highest expected return with the risk within a limit."""
    builder = invested(R.shape[1], cap)
    builder.add_limit("risk", [add_risk(builder, R, p, word)], limit)
    builder.minimize_linear(builder.weights, -(p @ R))
    return builder.build()


def textbook_risk(R: Matrix, p: Vector, word: str, w: cp.Expression | Vector) -> cp.Expression:
    """The same risk from its definition."""
    r = R @ w
    shortfall = cp.pos(p @ r - r)
    match word:
        case "worst":
            return cp.max(-r)
        case "mad":
            return p @ cp.abs(r - p @ r)
        case "semi_deviation":
            return cp.norm(cp.multiply(np.sqrt(p), shortfall))
        case _:
            x = cp.Variable()
            return x + p @ cp.pos(-r - x) / TAIL
