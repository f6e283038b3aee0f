"""Estimates that a solver process has made, kept for the next request on the same data.

The key is a digest of everything that an estimate depends on, so that what is remembered is what would be computed.
"""

from __future__ import annotations

import hashlib
import pickle
from collections import OrderedDict
from dataclasses import replace

from server.compute.estimate import Estimate, estimate
from server.compute.inputs import MarketInputs
from server.specs import ModelSpec, ScenarioSpec

_KEPT = 4
_estimates: OrderedDict[bytes, Estimate] = OrderedDict()


def remembered_estimate(inputs: MarketInputs, model: ModelSpec) -> Estimate:
    """What `estimate` gives, from memory where it was computed before.

    Raises:
        NotReady, ProblemError: As `estimate`.
    """
    key = _digest(inputs, model)
    found = _estimates.get(key)
    if found is None:
        found = estimate(inputs, model)
        _estimates[key] = found
        if len(_estimates) > _KEPT:
            _estimates.popitem(last=False)
    _estimates.move_to_end(key)
    return found


def _digest(inputs: MarketInputs, model: ModelSpec) -> bytes:
    """Prices, and stored scenarios, are named by ids that are made of their content."""
    caps = [(asset.id, asset.market_cap) for asset in inputs.assets]
    window = (str(inputs.dates[0]), str(inputs.dates[-1]), len(inputs.dates))
    factors = [(name, found.id) for name, found in sorted(inputs.factor_sets.items())]
    scenarios = model.scenarios
    if scenarios is not None and scenarios.id:
        model = replace(model, scenarios=ScenarioSpec(scenarios.id))
    parts = (inputs.pricing_pack_id, caps, window, factors, inputs.market, model)
    return hashlib.sha256(pickle.dumps(parts)).digest()
