"""What a computation ended with. Every value says what the numbers beside it mean."""

from __future__ import annotations

from enum import Enum


class Status(Enum):
    """Outcome of an optimization, re-measured on the returned weights."""

    OPTIMAL = "optimal"  # gap and violation within Settings.tolerance
    OPTIMAL_TO_TOLERANCE = (
        "optimal_to_tolerance"  # within Settings.loose_tolerance: usable, and the certificate says how far
    )
    INFEASIBLE = "infeasible"  # proven: no weights satisfy every constraint
    UNBOUNDED = "unbounded"  # the objective improves for ever along a direction
    ILL_POSED = "ill_posed"  # a ratio whose best attainable excess return is not positive
    LIMIT_REACHED = "limit_reached"  # time or nodes ran out: the incumbent and its bound are returned
    NUMERICAL_FAILURE = "numerical_failure"  # no answer that the certificate could confirm

    @property
    def has_weights(self) -> bool:
        """Whether weights come with this status."""
        return self in (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE, Status.LIMIT_REACHED)
