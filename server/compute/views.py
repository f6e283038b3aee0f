"""Black-Litterman on a universe: the views' combinations, and their returns in excess of the risk-free rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kernel.errors import ProblemError
from kernel.estimation.views import BlackLittermanInput, BlackLittermanPosterior, View
from kernel.estimation.views import black_litterman as update
from server.compute.inputs import Asset, Floats, MarketInputs
from server.compute.risk_models import Risk
from server.specs import ModelSpec, ViewSpec, ViewsSpec

# A combination smaller than this beside the weights that it is made of has cancelled to rounding.
_CANCELLED = 1e-12


def black_litterman(inputs: MarketInputs, model: ModelSpec, risk: Risk, market: Floats) -> BlackLittermanPosterior:
    """The posterior of the model's views.

    Args:
        inputs: The universe.
        model: With views that were checked against the universe.
        risk: Covariance of the n assets.
        market: (n,) weights by capitalisation.

    Raises:
        ProblemError: Certain views contradict each other or the covariance; the field is the caller's.
    """
    spec = model.views
    assert spec is not None
    rate = model.risk_free_rate if spec.convention == "total" else 0.0
    stated = tuple(_view(view, combination(inputs.assets, market, view), rate) for view in spec.views)
    problem = BlackLittermanInput(risk.Sigma, market, spec.risk_aversion, spec.tau, stated)
    try:
        return update(problem)
    except ProblemError as error:
        raise ProblemError(f"black_litterman.{error.field}", error.reason) from error


def combination(assets: Sequence[Asset], market: Floats, view: ViewSpec) -> Floats:
    """(n,) weights of a view: its own, and those of groups divided by market capitalisation; 0 where they cancel."""
    own = np.array([view.weights.get(asset.id, 0.0) for asset in assets])
    sectors = _divided(view.sectors, [asset.sector for asset in assets], market)
    classes = _divided(view.asset_classes, [asset.asset_class for asset in assets], market)
    total = own + sectors + classes
    size = np.abs(own) + np.abs(sectors) + np.abs(classes)
    return np.where(np.abs(total) > _CANCELLED * size, total, 0.0)


def market_caps(assets: Sequence[Asset], spec: ViewsSpec) -> dict[str, float]:
    """The capitalisations that are known, the request's before the instruments' own."""
    known = {asset.id: asset.market_cap for asset in assets if asset.market_cap is not None}
    return {asset.id: spec.market_caps.get(asset.id, known.get(asset.id, 0.0)) for asset in assets}


def _view(spec: ViewSpec, p: Floats, rate: float) -> View:
    """The rate is taken off once per unit of net weight: once off an absolute view, not at all off a relative one."""
    net = float(p.sum())
    if abs(net) <= _CANCELLED * float(np.abs(p).sum()):
        net = 0.0
    return View(spec.name, p, spec.expected_return - rate * net, spec.confidence, spec.variance)


def _divided(weights: Mapping[str, float], groups: Sequence[str], market: Floats) -> Floats:
    """(n,) each group's weight, divided among its members."""
    found = np.zeros(len(groups))
    for group, weight in weights.items():
        members = np.array([name == group for name in groups])
        found[members] += weight * market[members] / market[members].sum()
    return found
