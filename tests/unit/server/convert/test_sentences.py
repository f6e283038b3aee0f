"""Shadow prices in words."""

import pytest

from kernel.solution import ConstraintReport
from server.convert.sentences import ObjectiveUnit, objective_unit, price_sentence
from server.specs import CostSpec, ModelSpec, OptimizationSpec

VOLATILITY = ObjectiveUnit("volatility", fraction=True)


def report(price: float | None, sense: str = "<=", unit: str = "weight") -> ConstraintReport:
    return ConstraintReport("sector_limits[Energy].maximum", unit, sense, 0.3, 0.3, 0.0, True, price)


def spec(objective: str, measure: str = "volatility", rate: float = 0.0) -> OptimizationSpec:
    return OptimizationSpec("p", "mean_variance", objective, measure, ModelSpec(0.02), 1.0, cost=CostSpec(rate))


@pytest.mark.parametrize(
    ("found", "unit", "sentence"),
    [
        (report(0.008), VOLATILITY, "one more point of sector_limits[Energy].maximum is worth 0.8 bp of volatility"),
        (
            report(0.0123456, ">="),
            VOLATILITY,
            "one point less of sector_limits[Energy].maximum is worth 1.23 bp of volatility",
        ),
        (report(-0.02, "="), VOLATILITY, "one point less of sector_limits[Energy].maximum is worth 2 bp of volatility"),
        (report(0.02, "="), VOLATILITY, "one more point of sector_limits[Energy].maximum is worth 2 bp of volatility"),
        (
            report(0.001, unit="exposure"),
            VOLATILITY,
            "one more unit of sector_limits[Energy].maximum is worth 10 bp of volatility",
        ),
        (
            report(0.5),
            ObjectiveUnit("the Sharpe ratio", fraction=False),
            "one more point of sector_limits[Energy].maximum is worth 0.005 of the Sharpe ratio",
        ),
        (report(0.0), VOLATILITY, ""),
        (report(1e-9), VOLATILITY, ""),
        (report(None), VOLATILITY, ""),
    ],
)
def test_a_price_in_words(found: ConstraintReport, unit: ObjectiveUnit, sentence: str) -> None:
    assert price_sentence(found, unit) == sentence


@pytest.mark.parametrize(
    ("asked", "unit"),
    [
        (spec("minimize_risk", "max_drawdown"), ObjectiveUnit("max drawdown", fraction=True)),
        (spec("minimize_risk", "variance"), ObjectiveUnit("variance", fraction=False)),
        (spec("minimize_risk", rate=0.001), ObjectiveUnit("risk and cost", fraction=True)),
        (spec("maximize_return"), ObjectiveUnit("return", fraction=True)),
        (spec("maximize_sharpe"), ObjectiveUnit("the Sharpe ratio", fraction=False)),
        (spec("maximize_sharpe", "cvar"), ObjectiveUnit("the ratio of excess return to cvar", fraction=False)),
        (spec("maximize_sortino", "semi_deviation"), ObjectiveUnit("the Sortino ratio", fraction=False)),
        (spec("maximum_diversification"), ObjectiveUnit("the diversification ratio", fraction=False)),
        (spec("most_decorrelated"), ObjectiveUnit("the mean correlation", fraction=False)),
        (spec("most_decorrelated", rate=0.001), ObjectiveUnit("correlation and cost", fraction=False)),
        (spec("equal_weight"), ObjectiveUnit("the distance to the rule's weights", fraction=False)),
        (spec("nested_clusters", rate=0.001), ObjectiveUnit("distance and cost", fraction=False)),
        (spec("custom"), ObjectiveUnit("the objective", fraction=False)),
    ],
)
def test_the_objective_has_a_name(asked: OptimizationSpec, unit: ObjectiveUnit) -> None:
    assert objective_unit(asked) == unit
