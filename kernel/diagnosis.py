"""Why a problem is infeasible: a smallest conflicting set, and the least change that resolves it.

Every named limit gets an elastic variable e >= 0 in its own unit; the least sum of them is zero exactly when the
problem is feasible. The limits with a multiplier at that optimum form an infeasible set (Farkas), which a deletion
filter (Chinneck 2008, chapter 6) then makes irreducible. The budget, long-only weights and
definitions are never relaxed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from kernel.builder import ProgramBuilder
from kernel.canonical import DEFINITION, Cone, Mask, Program, Quadratic, RowBlock, Vector, widen
from kernel.problem import Problem, Settings
from kernel.solution import Explanation, Relaxation
from kernel.solvers import RawStatus, solve, solve_convex

_HARD = frozenset({"budget", DEFINITION, "long_only", "no_leverage"})
_NOTHING = 1e-9


def explain(problem: Problem, settings: Settings, *, proven: bool = False) -> Explanation | None:
    """The conflict and the least relaxation; None when the limits can be shown to hold together.

    `proven` says that a search over all positions has ended without one that fits.
    """
    feasibility = _feasibility_program(problem)
    program = _split_equalities(_bounds_as_rows(feasibility))
    names = _soft_names(program)
    elastic = _solve_elastic(program, names, settings)
    if elastic is None:
        return None
    if elastic.total <= _NOTHING:
        if not proven and solve(feasibility, settings).status is not RawStatus.INFEASIBLE:
            return None
        return _integer_conflict(feasibility, elastic.w)
    suspects = [name for name, multiplier in zip(names, elastic.multipliers, strict=True) if multiplier > _NOTHING]
    conflicting = _irreducible(program, suspects, settings)
    needed = {name: float(change) for name, change in zip(names, elastic.changes, strict=True) if change > _NOTHING}
    changes = _relaxations(problem, needed, elastic.w[: problem.moments.n])
    relaxations = (*changes, *_smaller_positions(feasibility, elastic.w))
    return Explanation(conflicting, relaxations, _sentence(conflicting, relaxations))


def _relaxations(problem: Problem, changes: Mapping[str, float], w: Vector) -> Iterator[Relaxation]:
    """The changes in the caller's terms: an upper limit rises, a lower one falls, an equality moves to where w is."""
    limits = {m.name: m for constraint in problem.constraints for m in constraint.measure(w)}
    for name, change in changes.items():
        limit = limits[name]
        falls = limit.sense == ">=" or (limit.sense == "=" and limit.value < limit.limit)
        yield Relaxation(name, limit.unit, limit.limit, limit.limit + (-change if falls else change))


def _feasibility_program(problem: Problem) -> Program:
    builder = ProgramBuilder(problem.moments.n)
    for constraint in problem.constraints:
        constraint.add_to(builder)
    return builder.build()


def _bounds_as_rows(program: Program) -> Program:
    """The program with every named bound written as a row of the same name, and wide bounds in their place."""
    eye = sp.eye_array(program.size, format="csr")
    upper, lower = sorted(program.upper_names), sorted(program.lower_names)
    A = sp.vstack([program.A, eye[upper], -eye[lower]], format="csr")
    b = np.concatenate([program.b, program.upper[upper], -program.lower[lower]])
    names = [program.upper_names[i] for i in upper] + [program.lower_names[i] for i in lower]
    start = len(program.b)
    block = RowBlock(tuple(names), Cone.NONNEGATIVE, start, start + len(names))
    wide_lower, wide_upper = program.lower.copy(), program.upper.copy()
    wide_lower[lower], wide_upper[upper] = -np.inf, np.inf
    return replace(program, A=sp.csr_array(A), b=b, lower=wide_lower, upper=wide_upper, blocks=(*program.blocks, block))


def _split_equalities(program: Program) -> Program:
    """The program with every named equality written as two inequalities, so that each side can give way."""
    soft = np.zeros(len(program.b), dtype=bool)
    names: list[str] = []
    for block in program.blocks:
        if block.cone is Cone.ZERO and not set(block.names) <= _HARD:
            soft[block.rows] = True
            names += block.names
    if not names:
        return program
    A = sp.vstack([program.A, program.A[soft], -program.A[soft]], format="csr")
    kept = tuple(b for b in program.blocks if not soft[b.start])
    start, count = len(program.b), len(names)
    below = RowBlock(tuple(names), Cone.NONNEGATIVE, start, start + count)
    above = RowBlock(tuple(names), Cone.NONNEGATIVE, start + count, start + 2 * count)
    split = replace(program, A=sp.csr_array(A), b=np.concatenate([program.b, program.b[soft], -program.b[soft]]))
    return _without_rows(replace(split, blocks=(*kept, below, above)), soft)


def _without_rows(program: Program, dropped: Mask) -> Program:
    """The program without the rows of blocks that it no longer lists."""
    dropped = np.append(dropped, np.zeros(len(program.b) - len(dropped), dtype=bool))
    place = np.cumsum(~dropped) - 1
    blocks = tuple(
        replace(block, start=int(place[block.start]), stop=int(place[block.stop - 1]) + 1) for block in program.blocks
    )
    return replace(program, A=sp.csr_array(program.A[~dropped]), b=program.b[~dropped], blocks=blocks)


def _soft_names(program: Program) -> list[str]:
    return sorted({name for block in program.blocks for name in block.names} - _HARD)


@dataclass(frozen=True, slots=True)
class _Elastic:
    """Least total change of the named limits: the change and multiplier of each, and where it leads."""

    changes: Vector
    multipliers: Vector
    w: Vector

    @property
    def total(self) -> float:
        return float(self.changes.sum())


def _solve_elastic(program: Program, names: list[str], settings: Settings) -> _Elastic | None:
    """Solve with the named limits elastic and all others as they are."""
    size, count = program.size, len(names)
    column = {name: size + k for k, name in enumerate(names)}
    rows, columns, owners = _elastic_places(program, column)
    stretch = sp.coo_array((-np.ones(len(rows)), (rows, columns)), shape=(len(program.b), size + count))
    elastic = replace(
        program,
        P=Quadratic(),
        q=np.append(np.zeros(size), np.ones(count)),
        A=sp.csr_array(widen(program.A, size + count) + sp.csr_array(stretch)),
        lower=np.append(program.lower, np.zeros(count)),
        upper=np.append(program.upper, np.full(count, np.inf)),
        semicontinuous=(),
        integral=(),
        hinges=(),
    )
    raw = solve_convex(elastic, settings)
    if raw.status is not RawStatus.SOLVED:
        return None
    multipliers = np.zeros(count)
    np.add.at(multipliers, owners, np.abs(raw.z[rows]))
    return _Elastic(np.maximum(raw.x[size:], 0.0), multipliers, raw.x)


def _elastic_places(program: Program, column: dict[str, int]) -> tuple[list[int], list[int], list[int]]:
    """Rows that an elastic variable enters, its column and its place among the names; a cone is widened by its head."""
    rows: list[int] = []
    columns: list[int] = []
    first = program.size
    for block in program.blocks:
        heads = [block.start] if not block.cone.is_linear else range(block.start, block.stop)
        for row, name in zip(heads, block.names, strict=True):
            if name in column:
                rows.append(row)
                columns.append(column[name])
    return rows, columns, [c - first for c in columns]


def _irreducible(program: Program, suspects: list[str], settings: Settings) -> tuple[str, ...]:
    kept = list(suspects)
    for name in suspects:
        others = [other for other in kept if other != name]
        if _conflicts(program, others, settings):
            kept = others
    return tuple(kept)


def _conflicts(program: Program, names: list[str], settings: Settings) -> bool:
    """Whether `names` and the hard rows alone cannot hold together."""
    wanted = set(names) | _HARD
    dropped = np.zeros(len(program.b), dtype=bool)
    for block in program.blocks:
        heads = slice(block.start, block.start + 1) if not block.cone.is_linear else block.rows
        dropped[heads] = [name not in wanted for name in block.names]
    loose = replace(program, b=np.where(dropped & ~program.mask(Cone.ZERO), 1e6, program.b))
    elastic = _solve_elastic(loose, names, settings)
    return elastic is not None and elastic.total > _NOTHING


def _integer_conflict(program: Program, w: Vector) -> Explanation | None:
    """The limits hold together, at `w`, but for positions that must be zero or large enough."""
    if not program.semicontinuous:
        return None
    name, relaxations = program.semicontinuous[0].name, tuple(_smaller_positions(program, w))
    sentence = f"the limits hold together only with positions smaller than {name} allows"
    return Explanation((name,), relaxations, sentence)


def _smaller_positions(program: Program, w: Vector) -> Iterator[Relaxation]:
    """The smallest position of `w`, where no position may be so small: beside the other changes it makes w feasible."""
    held = [float(w[v.index]) for v in program.semicontinuous if w[v.index] > _NOTHING]
    for v in program.semicontinuous[:1]:
        smallest = min(held, default=v.threshold)
        if smallest < v.threshold:
            yield Relaxation(v.name, "weight", v.threshold, smallest)


def _sentence(conflicting: tuple[str, ...], relaxations: tuple[Relaxation, ...]) -> str:
    changes = ", ".join(f"{r.name} from {r.limit:g} to {r.relaxed_limit:.6g}" for r in relaxations)
    together = " and ".join(conflicting) if len(conflicting) <= 6 else f"{len(conflicting)} limits"
    return (
        f"{together} cannot hold together while weights add up to 1; the least change that helps is to move {changes}"
    )
