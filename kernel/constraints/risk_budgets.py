"""Risk budgets: the largest share of single assets or groups in the portfolio's variance.

With Sigma = F'F and E the selection of a group, the group's part of the variance is a difference of squares,

    w'E Sigma w = ||F (E + I) w||^2 / 4 - ||F (E - I) w||^2 / 4,

so that "at most the share s" says

    ||F (E + I) w|| / 2 <= ||H w||,    H'H = (E - I) Sigma (E - I) / 4 + s Sigma.

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
from kernel.canonical import DEFINITION, Cone, Matrix, Vector
from kernel.constraints.base import Measurement
from kernel.errors import ProblemError
from kernel.measures.volatility import covariance_root
from kernel.problem import Moments

_ROUNDING = 1e-12


@dataclass(frozen=True)
class RiskBudgets:
    """Of each group g: ``sum_{i in g} w_i (Sigma w)_i <= share_g * w'Sigma w``.

    Not convex: `kernel.methods.risk_budgets` searches for the best weights and says what is proven of them.

    Attributes:
        names: (k,) the limits in the caller's words.
        groups: (k,) members of each group, by index; an asset is a group of one.
        shares: (k,) largest shares in the variance, above 0 and at most 1.
        moments: Whose covariance is meant.

    Raises:
        ProblemError: A share is out of range, a group is empty, or all assets together may not carry all the variance.
    """

    names: tuple[str, ...]
    groups: tuple[tuple[int, ...], ...]
    shares: Vector
    moments: Moments

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.groups) == len(self.shares):
            reason = f"{len(self.names)} names, {len(self.groups)} groups, {len(self.shares)} shares"
            raise ProblemError("risk_budgets", reason)
        for name, group, share in zip(self.names, self.groups, self.shares.tolist(), strict=True):
            if not 0.0 < share <= 1.0:
                raise ProblemError(name, f"must be above 0 and at most 1, not {share:g}")
            if not group:
                raise ProblemError(name, "has no assets")
        members = [i for group in self.groups for i in group]
        risky = bool((self.moments.quadratic.diagonal_entries > 0.0).all())
        if risky and sorted(members) == list(range(self.moments.n)) and self.shares.sum() < 1.0 - _ROUNDING:
            reason = f"the shares of all assets add up to {self.shares.sum():.4g}, but together they carry all the risk"
            raise ProblemError(self.names[0], reason)

    def add_to(self, builder: ProgramBuilder) -> None:
        """Nothing: no convex limit stands for it. What is left out is a relaxation."""

    def measure(self, w: Vector) -> Iterable[Measurement]:
        """Every share, 0 for a portfolio without risk."""
        parts = w * self.moments.quadratic.times(w)
        variance = float(parts.sum())
        scale = 1.0 / variance if variance > _ROUNDING**2 else 0.0
        return [
            Measurement(name, "risk share", "<=", share, scale * float(parts[list(group)].sum()))
            for name, group, share in zip(self.names, self.groups, self.shares.tolist(), strict=True)
        ]

    def excess(self, w: Vector) -> float:
        """The largest amount by which a share is exceeded, 0 when none is."""
        return max([0.0, *(-measured.slack for measured in self.measure(w))])


@dataclass(frozen=True)
class TangentBudgets:
    """The convex limits that stand for risk budgets around the weights `at`, in units of the shares.

    Attributes:
        budgets: The limits meant; what is measured is theirs.
        at: (n,) weights with some risk.
    """

    budgets: RiskBudgets
    at: Vector

    def add_to(self, builder: ProgramBuilder) -> None:
        """One cone a budget."""
        self._write(builder, None)

    def add_softened_to(self, builder: ProgramBuilder) -> slice:
        """One cone a budget that may give way by a variable >= 0: where these variables are."""
        slack = builder.add_variables(len(self.budgets.names), lower=0.0)
        self._write(builder, slack)
        return slack

    def measure(self, w: Vector) -> Iterable[Measurement]:
        """The shares themselves."""
        return self.budgets.measure(w)

    def _write(self, builder: ProgramBuilder, slack: slice | None) -> None:
        F = covariance_root(self.budgets.moments.quadratic)
        rows = len(F)
        v = builder.add_variables(rows)
        minus = sp.csr_array(-sp.eye_array(rows, format="csr"))
        builder.add_rows((DEFINITION,) * rows, Cone.ZERO, [(builder.weights, F), (v, minus)], np.zeros(rows))
        for k, (name, group) in enumerate(zip(self.budgets.names, self.budgets.groups, strict=True)):
            tangent, unit = self._tangent(group, float(self.budgets.shares[k]))
            inside = np.zeros((rows + 1, builder.n))
            inside[0] = -tangent
            inside[1:, list(group)] = 0.5 * unit * F[:, list(group)]
            below = sp.vstack([sp.csr_array((1, rows)), 0.5 * unit * sp.eye_array(rows)], format="csr")
            terms: list[tuple[slice, sp.csr_array | Matrix]] = [(builder.weights, inside), (v, sp.csr_array(below))]
            if slack is not None:
                head = sp.csr_array(sp.coo_array(([-1.0], ([0], [0])), shape=(rows + 1, 1)))
                terms.append((slice(slack.start + k, slack.start + k + 1), head))
            builder.add_rows((name,), Cone.SECOND_ORDER, terms, np.zeros(rows + 1))

    def _tangent(self, group: tuple[int, ...], share: float) -> tuple[Vector, float]:
        """The gradient of ``unit ||H w||`` at `at`, and the unit in which one more of the share adds one to it."""
        quadratic = self.budgets.moments.quadratic
        outside = self.at.copy()
        outside[list(group)] = 0.0
        # (E - I) w is minus the part outside the group.
        inner = 0.25 * quadratic.times(outside)
        inner[list(group)] = 0.0
        gradient = inner + share * quadratic.times(self.at)
        norm, variance = np.sqrt(float(self.at @ gradient)), float(self.at @ quadratic.times(self.at))
        unit = 2.0 * norm / variance
        return unit * gradient / norm, unit
