"""Why a problem is unbounded: the direction along which its objective improves for ever.

The recession cone of a feasible program holds the directions d with ``-Ad in K`` that no bound stops; the objective
improves for ever along d when ``Pd = 0`` and ``q'd < 0`` (Rockafellar 1970, section 27). Of the directions that trade
twice the portfolio's value, the one of fastest improvement is a vertex in linear programs: few assets, as a rule two.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from kernel.canonical import DEFINITION, Cone, Matrix, Program, Quadratic, RowBlock, Vector, widen
from kernel.certificate import violation
from kernel.problem import Settings
from kernel.solvers import RawStatus, solve

_TRADED = 2.0
_CERTAIN = 1e-7
_TIDY = 1e-9
# Eigenvalues this small beside the largest are rounding.
_FLAT = 1e-12


def find_direction(program: Program, n: int, settings: Settings) -> Vector | None:
    """The direction in which the objective of `program` improves fastest for ever.

    Args:
        program: The problem's own, not homogenised.
        n: Number of weights.
        settings: How far to go.

    Returns:
        (n,) weight changes, the largest of them 1 in size. None when no direction could be certified: rows and bounds
        kept, and the objective improving, on the direction itself.
    """
    recession = _recession(program)
    raw = solve(_within_reach(recession, n), settings)
    if raw.status is not RawStatus.SOLVED:
        return None
    ray = np.where(np.abs(raw.x[: program.size]) < _TIDY, 0.0, raw.x[: program.size])
    largest = float(np.abs(ray[:n]).max())
    if largest == 0.0:
        return None
    ray /= largest
    improves = float(program.q @ ray) < -_CERTAIN * float(np.abs(program.q).max())
    return ray[:n] if improves and _kept(recession, ray) else None


def find_ratio_direction(program: Program, n: int, x: Vector) -> Vector | None:
    """The direction in which weights grow whose ratio is the best.

    Args:
        program: A ratio program.
        n: Number of weights.
        x: Its solution, in which kappa vanishes beside the weights.
    """
    assert program.kappa is not None
    ray = x / float(np.abs(x[:n]).max())
    ray[program.kappa] = 0.0
    # Only the row of the unit excess has a constant, and it holds for x itself.
    endless = replace(program, b=np.where(program.b != 0.0, program.A @ ray, 0.0), kappa=None)
    tidy = np.where(np.abs(ray[:n]) < _TIDY, 0.0, ray[:n])
    return tidy if _kept(endless, ray) else None


def _kept(program: Program, ray: Vector) -> bool:
    """Whether no row and no bound stops the ray."""
    return violation(program, ray) <= _CERTAIN * max(1.0, float(np.abs(program.A.data).max(initial=0.0)))


def _recession(program: Program) -> Program:
    """Directions of the program: constants zero, finite bounds at zero, and nothing that the quadratic part sees."""
    seen = _seen(program.P)
    count, start = seen.shape[0], len(program.b)
    flat = widen(sp.csr_array(seen), program.size) if count else sp.csr_array((0, program.size))
    block = RowBlock((DEFINITION,) * count, Cone.ZERO, start, start + count)
    return replace(
        program,
        P=Quadratic(),
        A=sp.csr_array(sp.vstack([program.A, flat], format="csr")),
        b=np.zeros(start + count),
        lower=np.where(np.isfinite(program.lower), 0.0, -np.inf),
        upper=np.where(np.isfinite(program.upper), 0.0, np.inf),
        blocks=(*program.blocks, block) if count else program.blocks,
        semicontinuous=(),
        integral=(),
        hinges=(),
        offset=0.0,
    )


def _seen(P: Quadratic) -> Matrix | sp.csr_array:
    """(k, n) orthonormal rows that span the directions in which P is more than rounding."""
    if P.is_zero:
        return np.zeros((0, P.size))
    if P.parts:
        return sp.csr_array(sp.block_diag([_seen(part) for part in P.parts], format="csr"))
    values, vectors = np.linalg.eigh(P.dense)
    return np.asarray(vectors[:, values > _FLAT * values[-1]].T, dtype=np.float64)


def _within_reach(recession: Program, n: int) -> Program:
    """The same with ``sum_i |d_i| <= 2`` over the weights, by d = u - v with u, v >= 0."""
    size, start = recession.size, len(recession.b)
    eye = sp.eye_array(n, format="csr")
    rest = sp.csr_array((n, size - n))
    split = sp.hstack([eye, rest, -eye, eye], format="csr")
    total = sp.csr_array(np.concatenate([np.zeros(size), np.ones(2 * n)])[None, :])
    blocks = (
        RowBlock((DEFINITION,) * n, Cone.ZERO, start, start + n),
        RowBlock((DEFINITION,), Cone.NONNEGATIVE, start + n, start + n + 1),
    )
    return replace(
        recession,
        q=np.append(recession.q, np.zeros(2 * n)),
        A=sp.csr_array(sp.vstack([widen(recession.A, size + 2 * n), split, total], format="csr")),
        b=np.concatenate([recession.b, np.zeros(n), [_TRADED]]),
        lower=np.append(recession.lower, np.zeros(2 * n)),
        upper=np.append(recession.upper, np.full(2 * n, np.inf)),
        blocks=(*recession.blocks, *blocks),
    )
