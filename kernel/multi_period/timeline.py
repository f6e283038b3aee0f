"""Where the weights of each period stand among all of a plan, and how they become trades.

    V_h = V_{h-1} + f_h,   V_{-1} = 1         value by cash flows alone, as a multiple of the present one
    u_h = V_h w_h                             holdings in units of the present value
    z_h = u_h - u_{h-1} - f_h e_cash          trades, which add up to zero: the flow itself is none

References: Boyd, Busseti, Diamond, Kahn, Koh, Nystrup & Speth (2017), section 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from kernel.builder import ProgramBuilder
from kernel.canonical import Vector
from kernel.errors import ProblemError

# Of the present value; below it weights would stand for next to nothing.
SMALLEST_VALUE = 1e-3


@dataclass(frozen=True)
class Timeline:
    """The periods h = 0 .. H-1 of a plan over n assets, cash last.

    Attributes:
        w0: (n,) current weights.
        years: (H,) lengths of the periods.
        flows: (H,) paid in at the start of each, fractions of the present value.

    Raises:
        ProblemError: A length is not positive, a flow is not finite, or flows out leave next to nothing.
    """

    w0: Vector
    years: Vector
    flows: Vector

    def __post_init__(self) -> None:
        if not (len(self.years) and len(self.flows) == len(self.years)):
            raise ProblemError("periods", f"{len(self.years)} lengths, {len(self.flows)} cash flows")
        for h in np.flatnonzero(~((self.years > 0.0) & np.isfinite(self.years))).tolist():
            raise ProblemError(f"periods[{h}].days", f"must be positive and finite, not {self.years[h]:g} years")
        for h in np.flatnonzero(~np.isfinite(self.flows)).tolist():
            raise ProblemError(f"periods[{h}].cash_flow", f"must be finite, not {self.flows[h]}")
        for h in np.flatnonzero(self.values < SMALLEST_VALUE)[:1].tolist():
            reason = f"leaves {self.values[h]:g} of the present value, which must stay at least {SMALLEST_VALUE:g}"
            raise ProblemError(f"periods[{h}].cash_flow", reason)

    @property
    def n(self) -> int:
        """Number of assets."""
        return len(self.w0)

    @property
    def count(self) -> int:
        """Number of periods."""
        return len(self.years)

    @property
    def values(self) -> Vector:
        """(H,) V_h."""
        return np.asarray(1.0 + np.cumsum(self.flows))

    @property
    def shares(self) -> Vector:
        """(H,) years times value: how much an annual rate of the period counts in the plan."""
        return np.asarray(self.years * self.values)

    def place(self, h: int) -> slice:
        """Where the weights of period h stand."""
        return slice(h * self.n, (h + 1) * self.n)

    def suffix(self, h: int) -> str:
        """What follows the names of the period's limits; nothing where there is one period only."""
        return f" in period {h + 1}" if self.count > 1 else ""

    def part(self, builder: ProgramBuilder, h: int) -> ProgramBuilder:
        """The builder for the weights of period h."""
        return builder.over(self.place(h), self.suffix(h))

    def trades(self, W: Vector, h: int) -> Vector:
        """(n,) z_h, in fractions of the present value."""
        V = self.values
        before = self.w0 if h == 0 else V[h - 1] * W[self.place(h - 1)]
        z = V[h] * W[self.place(h)] - before
        z[-1] -= self.flows[h]
        return np.asarray(z)

    def add_trade_sizes(self, builder: ProgramBuilder, h: int) -> slice:
        """Variables ``t >= |z_h|``, shared by every term that needs them."""
        return self.part(builder, h).shared(("trade sizes",), lambda: self._add_sizes(builder, h))

    def _add_sizes(self, builder: ProgramBuilder, h: int) -> slice:
        V, eye = self.values, sp.eye_array(self.n, format="csr")
        terms, b = [(self.place(h), V[h] * eye)], np.zeros(self.n)
        if h == 0:
            b += self.w0
        else:
            terms.append((self.place(h - 1), -V[h - 1] * eye))
        b[-1] += self.flows[h]
        return builder.add_absolute(terms, b)
