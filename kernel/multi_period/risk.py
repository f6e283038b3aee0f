"""The risk of a plan: each period's by its length and value.

    penalty(r) = sum_h s_h penalty_h(r_h),   s_h = tau_h V_h

so that the plan's risk is a mean of its periods'; of volatility the root of the mean variance.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernel.builder import Form, ProgramBuilder
from kernel.canonical import Vector
from kernel.errors import ProblemError
from kernel.measures import RiskMeasure
from kernel.multi_period.timeline import Timeline


@dataclass(frozen=True, slots=True)
class PlanRisk:
    """The mean of one measure over the periods.

    Attributes:
        measures: (H,) of one kind, each on the period's own data.
    """

    measures: tuple[RiskMeasure, ...]
    timeline: Timeline

    @property
    def name(self) -> str:
        """That of the measure."""
        return self.measures[0].name

    @property
    def unit(self) -> str:
        """That of the measure."""
        return self.measures[0].unit

    def minimize(self, builder: ProgramBuilder, weight: float) -> None:
        """Add ``weight * penalty(risk(W))`` to the objective, period by period."""
        for h, (measure, share) in enumerate(zip(self.measures, self.timeline.shares.tolist(), strict=True)):
            measure.minimize(self.timeline.part(builder, h), weight * share)

    def limit(self, builder: ProgramBuilder, name: str, limit: float) -> None:
        """Not posed: limits on risk hold in every period by its own measure."""
        del builder, limit
        raise ProblemError(name, "limits the risk of a whole plan: only each period's can be limited")

    def epigraph(self, builder: ProgramBuilder) -> Form:
        """Not posed, as the mean of the periods' risks enters by its penalty alone."""
        del builder
        raise ProblemError("risk_measure", "of a whole plan enters by its penalty alone")

    def of(self, w: Vector) -> float:
        """The plan's risk at the weights of all periods."""
        parts = zip(self.measures, self.timeline.shares.tolist(), strict=True)
        total = sum(s * m.penalty(m.of(w[self.timeline.place(h)])) for h, (m, s) in enumerate(parts))
        return self.from_program(total)

    def penalty(self, risk: float) -> float:
        """What stands for `risk` in the plan's program."""
        return self._total * self.measures[0].penalty(risk)

    def from_program(self, value: float) -> float:
        """The risk whose penalty is `value`."""
        return self.measures[0].from_program(value / self._total)

    def slope(self, risk: float) -> float:
        """dr/dpenalty."""
        return self.measures[0].slope(risk) / self._total

    def contributions(self, w: Vector) -> Vector | None:
        """None: periods do not share one risk among assets."""
        del w
        return None

    @property
    def _total(self) -> float:
        return float(self.timeline.shares.sum())
