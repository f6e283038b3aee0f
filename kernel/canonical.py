"""The one canonical form of every convex or mixed-integer program.

    minimize    1/2 x_v' P x_v + q'x + offset   x_v: the leading P.size variables
    subject to  Ax + s = b,  s in K = {0}^a x R+^b x Q x ... x Q x E x ... x E
                lower <= x <= upper
                x_i = 0  or  |x_i| >= t_i * scale      for the semicontinuous i
                x_i a whole multiple of step_i * scale  for the integral i

(`scale` is 1, or the homogenising variable kappa of a ratio program.) Each row block carries the names of the
constraints that wrote it, so that multipliers and conflicts speak the caller's language. Bounds stay apart from the
rows because every solver treats them better than rows. Programs are written by `kernel.builder`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from kernel.quadratic import Matrix, Quadratic, Vector

__all__ = [
    "Cone",
    "Hinge",
    "Integral",
    "Mask",
    "Matrix",
    "Program",
    "Quadratic",
    "RowBlock",
    "SemiContinuous",
    "Vector",
]

Mask = npt.NDArray[np.bool_]

# The name of rows that define auxiliary variables: nobody's limit, so never relaxed and never reported.
DEFINITION = "definition"
# Names of what nobody may move: the budget, long-only weights and definitions are never relaxed.
HARD = frozenset({"budget", DEFINITION, "long_only", "no_leverage"})


def in_part(name: str, suffix: str) -> str:
    """The name of a limit on a part of the weights; what nobody may move keeps its own."""
    return name if name in HARD else name + suffix


class Cone(Enum):
    """Where the slack of a row block lives."""

    ZERO = "zero"
    NONNEGATIVE = "nonnegative"
    SECOND_ORDER = "second_order"  # s_0 >= ||s_1..||
    EXPONENTIAL = "exponential"  # three rows: s_1 > 0 and s_1 exp(s_0 / s_1) <= s_2, closed

    @property
    def is_linear(self) -> bool:
        """Whether its rows are equations or inequalities."""
        return self in (Cone.ZERO, Cone.NONNEGATIVE)


@dataclass(frozen=True, slots=True)
class RowBlock:
    """Rows ``start:stop`` of A. `names` has one name per row; a block of another cone has one for all its rows."""

    names: tuple[str, ...]
    cone: Cone
    start: int
    stop: int

    @property
    def rows(self) -> slice:
        """The block's rows."""
        return slice(self.start, self.stop)


@dataclass(frozen=True, slots=True)
class SemiContinuous:
    """x[index] = 0 or |x[index]| >= threshold (times kappa in a ratio program)."""

    name: str
    index: int
    threshold: float


@dataclass(frozen=True, slots=True)
class Integral:
    """x[index] is a whole multiple of `step` (times kappa in a ratio program); a switch is one with bounds 0 and 1."""

    name: str
    index: int
    step: float = 1.0


@dataclass(frozen=True, slots=True)
class Hinge:
    """Rows ``a_t'x - u_t <= b_t`` with u >= 0: u_t stands for the positive part (a_t'x - b_t)+.

    Growing u never helps the objective nor any other row, so that a program in which some u_t are fixed at zero without
    their rows, and others replaced by a_t'x - b_t without their sign, is a relaxation.
    """

    rows: slice
    variables: slice


@dataclass(frozen=True, slots=True)
class Program:
    """The canonical form. `kappa` is the homogenising variable's index."""

    P: Quadratic
    q: Vector
    A: sp.csr_array
    b: Vector
    lower: Vector
    upper: Vector
    blocks: tuple[RowBlock, ...]
    lower_names: Mapping[int, str]
    upper_names: Mapping[int, str]
    semicontinuous: tuple[SemiContinuous, ...] = ()
    integral: tuple[Integral, ...] = ()
    hinges: tuple[Hinge, ...] = ()
    kappa: int | None = None
    offset: float = 0.0

    @property
    def size(self) -> int:
        """Number of variables."""
        return len(self.q)

    @property
    def is_convex(self) -> bool:
        """Whether no variable is semicontinuous or integral."""
        return not (self.semicontinuous or self.integral)

    @property
    def is_linear(self) -> bool:
        """Whether objective and rows are linear; variables may be integral."""
        return self.P.is_zero and self.has_linear_rows

    @property
    def has_linear_rows(self) -> bool:
        """Whether every row is an equation or an inequality."""
        return all(block.cone.is_linear for block in self.blocks)

    def mask(self, *cones: Cone) -> Mask:
        """(m,) True at the rows of `cones`."""
        mask = np.zeros(len(self.b), dtype=bool)
        for block in self.blocks:
            if block.cone in cones:
                mask[block.rows] = True
        return mask

    def quadratic(self, x: Vector) -> Vector:
        """(N,) the gradient part Px."""
        product = np.zeros(self.size)
        leading = self.P.size
        product[:leading] = self.P.times(x[:leading])
        return product

    def objective(self, x: Vector) -> float:
        """1/2 x'Px + q'x + offset."""
        return float(0.5 * x @ self.quadratic(x) + self.q @ x) + self.offset


def widen(A: sp.csr_array, columns: int) -> sp.csr_array:
    """A with empty columns appended up to `columns`."""
    return sp.csr_array((A.data, A.indices, A.indptr), shape=(A.shape[0], columns))
