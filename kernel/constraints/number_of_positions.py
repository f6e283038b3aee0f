"""How many assets are held."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from kernel.builder import ProgramBuilder
from kernel.canonical import DEFINITION, Cone, Mask, Vector
from kernel.constraints.base import Measurement
from kernel.errors import ProblemError

# Weights up to it are rounding, not positions.
_ROUNDING = 1e-8


@dataclass(frozen=True, slots=True)
class NumberOfPositions:
    """smallest <= #{i in indices: w_i is held} <= largest.

    Switches z_i say whether an asset may be held: ``|w_i| <= reach_i z_i`` and ``sum z <= largest``. Towards `smallest`
    a position counts from `counted_from` on, since a set of weights that are not zero has no smallest member.

    Attributes:
        largest: Greatest number of positions.
        indices: The assets that can be positions (cash is none).
        reach: (n,) no |w_i| is larger than this in any portfolio that the other limits admit; the tighter the better.
        smallest: Least number of positions.
        counted_from: |w_i| from which a position counts towards `smallest`.

    Raises:
        ProblemError: The numbers contradict each other, or a reach is not positive and finite.
    """

    name: str
    largest: int
    indices: tuple[int, ...]
    reach: Vector
    smallest: int = 0
    counted_from: float = 1e-4

    def __post_init__(self) -> None:
        if self.largest < 0 or self.smallest < 0:
            raise ProblemError(self.name, f"must not be negative, not {min(self.largest, self.smallest)}")
        if self.smallest > self.largest:
            raise ProblemError(self.name, f"the minimum {self.smallest} is above the maximum {self.largest}")
        if self.smallest > len(self.indices):
            reason = f"asks for {self.smallest} positions among {len(self.indices)} assets"
            raise ProblemError(self.name, reason)
        for i in self.indices:
            if not (np.isfinite(self.reach[i]) and self.reach[i] > 0.0):
                raise ProblemError(self.name, f"asset {i} needs a finite largest position, not {self.reach[i]:g}")
        if self.smallest and not self.counted_from > 0.0:
            raise ProblemError(self.name, f"a position must count from above zero, not from {self.counted_from:g}")

    def add_to(self, builder: ProgramBuilder) -> None:
        """Switches, what they mean, and one row for either limit."""
        if self.largest >= len(self.indices) and not self.smallest:
            return
        form = self._two_sided(builder) if self.smallest else [(self._one_sided(builder), np.ones(len(self.indices)))]
        builder.add_limit(self.name, form, float(self.largest))
        if self.smallest:
            builder.add_limit(self.name, [(place, -ones) for place, ones in form], -float(self.smallest))

    def _one_sided(self, builder: ProgramBuilder) -> slice:
        """Switches z with ``|w| <= reach z``."""
        z = builder.add_switches(self.name, len(self.indices))
        self._link(builder, [(z, -self._reach)])
        shorts = builder.box[0][list(self.indices)] < 0.0
        if shorts.any():
            self._link(builder, [(z, -self._reach)], sign=-1.0, kept=shorts)
        return z

    def _two_sided(self, builder: ProgramBuilder) -> list[tuple[slice, Vector]]:
        """Switches p, s of long and short positions, at most one of them on.

        ``counted_from p - reach s <= w <= reach p - counted_from s``
        """
        count = len(self.indices)
        shorts = builder.box[0][list(self.indices)] < 0.0
        least = np.full(count, self.counted_from)
        p = builder.add_switches(self.name, count)
        if not shorts.any():
            self._link(builder, [(p, -self._reach)])
            self._link(builder, [(p, least)], sign=-1.0)
            return [(p, np.ones(count))]
        s = builder.add_switches(self.name, count)
        self._link(builder, [(p, -self._reach), (s, least)])
        self._link(builder, [(p, least), (s, -self._reach)], sign=-1.0)
        eye = sp.eye_array(count, format="csr")
        builder.add_rows((DEFINITION,) * count, Cone.NONNEGATIVE, [(p, eye), (s, eye)], np.ones(count))
        return [(p, np.ones(count)), (s, np.ones(count))]

    def _link(
        self,
        builder: ProgramBuilder,
        switches: list[tuple[slice, Vector]],
        sign: float = 1.0,
        kept: Mask | None = None,
    ) -> None:
        """Rows ``sign w_i + sum_k coefficients_k z_k <= 0``, of the `kept` assets."""
        rows = np.arange(len(self.indices)) if kept is None else np.flatnonzero(kept)
        chosen = sign * sp.eye_array(builder.n, format="csr")[[self.indices[k] for k in rows.tolist()]]
        terms = [(place, sp.csr_array(sp.diags_array(c, format="csr")[rows])) for place, c in switches]
        builder.add_rows(
            (DEFINITION,) * len(rows), Cone.NONNEGATIVE, [(builder.weights, chosen), *terms], np.zeros(len(rows))
        )

    @property
    def _reach(self) -> Vector:
        return self.reach[list(self.indices)]

    def measure(self, w: Vector) -> Iterable[Measurement]:
        """The number held, and the number that counts towards the least."""
        sizes = np.abs(w[list(self.indices)])
        held = float((sizes > _ROUNDING).sum())
        if self.largest < len(self.indices):
            yield Measurement(self.name, "positions", "<=", float(self.largest), held)
        if self.smallest:
            counted = float((sizes >= self.counted_from - _ROUNDING).sum())
            yield Measurement(self.name, "positions", ">=", float(self.smallest), counted)
