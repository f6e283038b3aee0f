"""Risk budgets: the largest share of single assets, groups of assets or factors in the portfolio's variance.

Every part of the variance is a difference of squares. With Sigma = F'F and E the selection of a group it is

    w'E Sigma w = ||F (E + I) w||^2 / 4 - ||F (E - I) w||^2 / 4,

and of a factor with the assets' exposures b and their covariances c = B Phi_k with it, for any a > 0,

    x_k (Phi x)_k = (b'w) (c'w) = ((a b + c / a)'w)^2 / 4 - ((a b - c / a)'w)^2 / 4,

so that "at most the share s" says

    ||F (E + I) w|| / 2 <= ||H w||,         H'H = (E - I) Sigma (E - I) / 4 + s Sigma
    |(a b + c / a)'w| / 2 <= ||H w||,       H'H = (a b - c / a) (a b - c / a)' / 4 + s Sigma.

A difference of norms is not convex. Around any w0 the tangent of the right side lies below it and gives a convex limit
that is stricter and exact at w0 (`TangentBudgets`).

References: Boyd, Cella & Lipp (2016), variations and extension of the convex-concave procedure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from kernel.builder import ProgramBuilder
from kernel.canonical import DEFINITION, Cone, Vector
from kernel.constraints.base import Measurement
from kernel.errors import ProblemError
from kernel.measures.volatility import compact_root
from kernel.problem import Moments

_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class FactorPart:
    """The part ``x_k (Phi x)_k`` of a factor in the variance ``x'Phi x + specific`` of a factor model, ``x = B'w``.

    Attributes:
        exposures: (n,) of the assets to the factor, column k of B; 0 for cash.
        covariances: (n,) of the assets with the factor, column k of B Phi.
    """

    exposures: Vector
    covariances: Vector

    def of(self, w: Vector) -> float:
        """x_k (Phi x)_k."""
        return float(self.exposures @ w) * float(self.covariances @ w)

    @property
    def squares(self) -> tuple[Vector, Vector] | None:
        """(n,) p and (n,) q with ``x_k (Phi x)_k = ((p'w)^2 - (q'w)^2) / 4``; None where the part is always zero."""
        sizes = float(np.linalg.norm(self.exposures)), float(np.linalg.norm(self.covariances))
        if 0.0 in sizes:
            return None
        a = np.sqrt(sizes[1] / sizes[0])
        return a * self.exposures + self.covariances / a, a * self.exposures - self.covariances / a


@dataclass(frozen=True)
class RiskBudgets:
    """Of each group g: ``sum_{i in g} w_i (Sigma w)_i <= share_g * w'Sigma w``, and of each factor likewise.

    Not convex: `kernel.methods.risk_budgets` searches for the best weights and says what is proven of them.

    Attributes:
        names: (k,) the limits in the caller's words.
        parts: (k,) the members of a group, by index (an asset is a group of one), or the part of a factor.
        shares: (k,) largest shares in the variance, above 0 and at most 1.
        moments: Whose covariance is meant.

    Raises:
        ProblemError: A share is out of range, a group is empty, a factor's numbers are not finite or not one for each
            asset, or all assets together may not carry all the variance.
    """

    names: tuple[str, ...]
    parts: tuple[tuple[int, ...] | FactorPart, ...]
    shares: Vector
    moments: Moments

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.parts) == len(self.shares):
            reason = f"{len(self.names)} names, {len(self.parts)} parts, {len(self.shares)} shares"
            raise ProblemError("risk_budgets", reason)
        for name, part, share in zip(self.names, self.parts, self.shares.tolist(), strict=True):
            if not 0.0 < share <= 1.0:
                raise ProblemError(name, f"must be above 0 and at most 1, not {share:g}")
            self._require_numbers(name, part)
        groups = [(part, share) for part, share in zip(self.parts, self.shares, strict=True) if isinstance(part, tuple)]
        members, total = [i for group, _ in groups for i in group], float(sum(share for _, share in groups))
        risky = bool((self.moments.quadratic.diagonal_entries > 0.0).all())
        if risky and sorted(members) == list(range(self.moments.n)) and total < 1.0 - _ROUNDING:
            reason = f"the shares of all assets add up to {total:.4g}, but together they carry all the risk"
            raise ProblemError(self.names[0], reason)

    def add_to(self, builder: ProgramBuilder) -> None:
        """Nothing: no convex limit stands for it. What is left out is a relaxation."""

    def measure(self, w: Vector) -> Iterable[Measurement]:
        """Every share, 0 for a portfolio without risk."""
        parts = w * self.moments.quadratic.times(w)
        variance = float(parts.sum())
        scale = 1.0 / variance if variance > _ROUNDING**2 else 0.0
        values = [part.of(w) if isinstance(part, FactorPart) else float(parts[list(part)].sum()) for part in self.parts]
        return [
            Measurement(name, "risk share", "<=", share, scale * value)
            for name, value, share in zip(self.names, values, self.shares.tolist(), strict=True)
        ]

    def excess(self, w: Vector) -> float:
        """The largest amount by which a share is exceeded, 0 when none is."""
        return max([0.0, *(-measured.slack for measured in self.measure(w))])

    def _require_numbers(self, name: str, part: tuple[int, ...] | FactorPart) -> None:
        if not isinstance(part, FactorPart):
            if not part:
                raise ProblemError(name, "has no assets")
            return
        for word, numbers in (("exposures", part.exposures), ("covariances", part.covariances)):
            if numbers.shape != (self.moments.n,):
                raise ProblemError(name, f"{word} of shape {numbers.shape} for {self.moments.n} assets")
            if not np.isfinite(numbers).all():
                raise ProblemError(name, f"{word} must be finite")


@dataclass(frozen=True)
class TangentBudgets:
    """The convex limits that stand for risk budgets around the weights `at`, in units of the shares.

    Weights without risk have no shares, and no limits around them.

    Attributes:
        budgets: The limits meant; what is measured is theirs.
        at: (n,) weights.
    """

    budgets: RiskBudgets
    at: Vector

    def add_to(self, builder: ProgramBuilder) -> None:
        """One cone for a group, two rows for a factor."""
        self._write(builder, None)

    def add_softened_to(self, builder: ProgramBuilder) -> slice:
        """The same limits, each of which may give way by a variable >= 0: where these variables are."""
        slack = builder.add_variables(len(self.budgets.names), lower=0.0)
        self._write(builder, slack)
        return slack

    def measure(self, w: Vector) -> Iterable[Measurement]:
        """The shares themselves."""
        return self.budgets.measure(w)

    def _write(self, builder: ProgramBuilder, slack: slice | None) -> None:
        if not self._variance > _ROUNDING**2:
            return
        root: tuple[sp.csr_array, slice] | None = None
        for k, part in enumerate(self.budgets.parts):
            own = None if slack is None else slice(slack.start + k, slack.start + k + 1)
            if isinstance(part, FactorPart):
                self._write_factor(builder, part, k, own)
            else:
                root = self._add_root(builder) if root is None else root
                self._write_group(builder, part, k, root, own)

    def _write_group(
        self,
        builder: ProgramBuilder,
        group: tuple[int, ...],
        k: int,
        root: tuple[sp.csr_array, slice],
        slack: slice | None,
    ) -> None:
        F, image = root
        rows, selected = F.shape[0], np.zeros(builder.n)
        selected[list(group)] = 1.0
        # (E - I) w is minus the part outside the group.
        inner = 0.25 * (1.0 - selected) * self.budgets.moments.quadratic.times((1.0 - selected) * self.at)
        tangent, unit = self._tangent(inner, k)
        inside = sp.vstack([sp.csr_array(-tangent[None, :]), 0.5 * unit * F @ sp.diags_array(selected)], format="csr")
        below = sp.vstack([sp.csr_array((1, rows)), 0.5 * unit * sp.eye_array(rows)], format="csr")
        terms = [(builder.weights, sp.csr_array(inside)), (image, sp.csr_array(below))]
        if slack is not None:
            terms.append((slack, sp.csr_array(sp.coo_array(([-1.0], ([0], [0])), shape=(rows + 1, 1)))))
        builder.add_rows((self.budgets.names[k],), Cone.SECOND_ORDER, terms, np.zeros(rows + 1))

    def _write_factor(self, builder: ProgramBuilder, part: FactorPart, k: int, slack: slice | None) -> None:
        squares = part.squares
        if squares is None:
            return
        p, q = squares
        tangent, unit = self._tangent(0.25 * float(q @ self.at) * q, k)
        sides = sp.csr_array(np.vstack([0.5 * unit * p - tangent, -0.5 * unit * p - tangent]))
        terms = [(builder.weights, sides)]
        if slack is not None:
            terms.append((slack, sp.csr_array(-np.ones((2, 1)))))
        builder.add_rows((self.budgets.names[k],) * 2, Cone.NONNEGATIVE, terms, np.zeros(2))

    def _tangent(self, inner: Vector, k: int) -> tuple[Vector, float]:
        """The gradient of ``unit ||H w||`` at `at`, and the unit in which one more of the share adds one to it.

        `inner` is the part of ``H'H at`` that is not the share of Sigma.
        """
        gradient = inner + float(self.budgets.shares[k]) * self.budgets.moments.quadratic.times(self.at)
        norm = float(np.sqrt(self.at @ gradient))
        unit = 2.0 * norm / self._variance
        return unit / norm * gradient, unit

    @property
    def _variance(self) -> float:
        return float(self.at @ self.budgets.moments.quadratic.times(self.at))

    def _add_root(self, builder: ProgramBuilder) -> tuple[sp.csr_array, slice]:
        """F with ``F'F = Sigma``, and variables ``v = F w``."""
        F = sp.csr_array(compact_root(self.budgets.moments.quadratic))
        rows = F.shape[0]
        v = builder.add_variables(rows)
        minus = sp.csr_array(-sp.eye_array(rows, format="csr"))
        builder.add_rows((DEFINITION,) * rows, Cone.ZERO, [(builder.weights, F), (v, minus)], np.zeros(rows))
        return F, v
