"""Entropy pooling on a universe: the views' combinations, and scenarios with the posterior's probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kernel.errors import ProblemError
from kernel.estimation.distribution_views import DistributionView
from kernel.estimation.entropy_pooling import Contradiction, EntropyPoolingInput, EntropyPosterior, entropy_pooling
from kernel.scenarios import Scenarios
from kernel.solution import Explanation, Minimality, Solution
from kernel.status import Status
from server.compute.inputs import Floats
from server.errors import Fault, InvalidRequest
from server.method_specs import DistributionViewSpec


class ContradictoryViews(InvalidRequest):
    """Views on the distribution cannot hold together: a fault for each of an irreducible set."""

    @property
    def outcome(self) -> Solution:
        """The same as the end of an optimization."""
        sentence = self.faults[0].description
        names = tuple(fault.field for fault in self.faults)
        return Solution(
            Status.INFEASIBLE,
            sentence,
            explanation=Explanation(names, (), sentence, minimality=Minimality.IRREDUCIBLE),
        )


def pooled(scenarios: Scenarios, views: Sequence[DistributionViewSpec]) -> tuple[Scenarios, EntropyPosterior]:
    """The scenarios under the views' probabilities.

    Args:
        scenarios: n + 1 assets, cash last, with the prior probabilities.
        views: On the n assets; checked against the universe.

    Raises:
        ContradictoryViews: They cannot hold together.
        ProblemError: They cannot be posed; the field is the caller's.
    """
    ids = scenarios.names[:-1]
    stated = tuple(_view(view, ids) for view in views)
    problem = EntropyPoolingInput(scenarios.R[:, :-1], scenarios.p, scenarios.periods_per_year, stated)
    try:
        found = entropy_pooling(problem)
    except ProblemError as error:
        raise ProblemError(f"entropy_pooling.{error.field}", error.reason) from error
    if isinstance(found, Contradiction):
        raise ContradictoryViews(Fault(f"entropy_pooling.views[{name}]", found.sentence) for name in found.views)
    return replace(scenarios, p=found.p), found


def _view(spec: DistributionViewSpec, ids: Sequence[str]) -> DistributionView:
    return DistributionView(spec.name, spec.kind, _legs(spec, ids), spec.value, spec.sense, spec.confidence_level)


def _legs(spec: DistributionViewSpec, ids: Sequence[str]) -> Floats:
    """(m, n) one row of weights, or one for each instrument."""
    if not spec.instruments:
        return np.array([[spec.weights.get(name, 0.0) for name in ids]])
    legs = np.zeros((len(spec.instruments), len(ids)))
    legs[np.arange(len(legs)), [ids.index(name) for name in spec.instruments]] = 1.0
    return legs
