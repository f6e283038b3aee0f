"""Every risk measure by its word, and the one table of their definitions.

With r the portfolio's return per period, m = E r, L = -r, c the confidence level, h the periods in a year, d_t the
fall of the cumulative return r_1 + ... + r_t from its earlier peak (at least 0, the start):

=================  ==========================  ===========================  ==============  ============================
word               formula                     averages                     annual by       tail, path
=================  ==========================  ===========================  ==============  ============================
volatility         sqrt(w'Sigma w)             the given covariance         as Sigma is     -
variance           w'Sigma w                   the given covariance         as Sigma is     -
semi_deviation     sqrt(E (m - r)+^2)          population, all periods      sqrt(h)         below m, or a fixed target
mad                E abs(r - m)                population                   sqrt(h)         -
gini               E abs(r - r')               population, pairs t, t incl. sqrt(h)         -
var                min {x: P(L <= x) >= c}     population                   per period      an element of the sample
cvar               min_x x + E(L - x)+/(1-c)   population                   per period      cut scenario counts in part
evar               inf_z z ln(E e^(L/z)/(1-c)) population                   per period      all of it, tilted
worst_realization  max L                       -                            per period      scenarios with p > 0
max_drawdown       max d_t                     -                            whole window    not compounded
average_drawdown   E d                         population, all periods      whole window    not compounded
cdar               min_x x + E(d - x)+/(1-c)   population                   whole window    not compounded, as cvar
ulcer              sqrt(E d^2)                 population, all periods      whole window    not compounded
=================  ==========================  ===========================  ==============  ============================

Population: weighted by the scenarios' probabilities, without a correction for lost degrees of freedom. Utilities take
each measure as it is, but volatility through half its square and variance through half of it. The maximum drawdown of
`kernel.performance` is compounded: it describes a past path and is not convex in the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from kernel.errors import ProblemError
from kernel.measures.base import RiskMeasure
from kernel.measures.deviations import GiniMeanDifference, MeanAbsoluteDeviation, SemiDeviation
from kernel.measures.drawdowns import AverageDrawdown, ConditionalDrawdownAtRisk, MaximumDrawdown, UlcerIndex
from kernel.measures.tails import ConditionalValueAtRisk, EntropicValueAtRisk, WorstRealization
from kernel.measures.value_at_risk import ValueAtRisk
from kernel.measures.volatility import Variance, Volatility
from kernel.problem import Moments
from kernel.scenarios import Scenarios


@dataclass(frozen=True, slots=True)
class MeasureSettings:
    """What measures need to know beside the data.

    Attributes:
        confidence_level: c of the tail measures, strictly between 0 and 1.
        target: Return per period below which the semi-deviation counts; None = the portfolio's own mean.

    Raises:
        ProblemError: The level lies outside (0, 1).
    """

    confidence_level: float = 0.95
    target: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.confidence_level < 1.0:
            raise ProblemError("confidence_level", f"must lie strictly between 0 and 1, not {self.confidence_level:g}")


@dataclass(frozen=True, slots=True)
class Definition:
    """One row of the table.

    Attributes:
        word: The contract's.
        formula: In the symbols of the module's docstring.
        average: ``covariance``, ``population`` or ``none``: how the scenarios enter.
        annual_by: What a value per period is multiplied by; ``none`` = it stays a loss per period or of the window.
        compounded: Whether paths compound.
        tail: Which part of the distribution counts, and how a scenario that the tail cuts does.
        unit: The unit of the values.
        needs_order: Whether scenarios must follow each other in time.
    """

    word: str
    formula: str
    average: str
    annual_by: str
    unit: str
    tail: str = "all of the distribution"
    compounded: bool = False
    needs_order: bool = False


_SQRT = "sqrt(periods_per_year)"
_ROWS = (
    Definition("volatility", "sqrt(w'Sigma w)", "covariance", "the covariance", "volatility"),
    Definition("variance", "w'Sigma w", "covariance", "the covariance", "variance"),
    Definition(
        "semi_deviation", "sqrt(E (m - r)+^2)", "population", _SQRT, "deviation", "below the mean or a fixed target"
    ),
    Definition("mad", "E abs(r - m)", "population", _SQRT, "deviation"),
    Definition("gini", "E abs(r - r')", "population", _SQRT, "deviation"),
    Definition("var", "min {x: P(L <= x) >= c}", "population", "none", "loss", "an element of the sample"),
    Definition(
        "cvar", "min_x x + E (L - x)+ / (1 - c)", "population", "none", "loss", "worst 1 - c; a cut scenario in part"
    ),
    Definition("evar", "inf_z z ln(E exp(L / z) / (1 - c))", "population", "none", "loss", "all, tilted to the worst"),
    Definition("worst_realization", "max L", "none", "none", "loss", "the worst scenario that can happen"),
    Definition("max_drawdown", "max d", "none", "none", "drawdown", "the deepest fall", needs_order=True),
    Definition("average_drawdown", "E d", "population", "none", "drawdown", needs_order=True),
    Definition(
        "cdar",
        "min_x x + E (d - x)+ / (1 - c)",
        "population",
        "none",
        "drawdown",
        "worst 1 - c; a cut period in part",
        needs_order=True,
    ),
    Definition("ulcer", "sqrt(E d^2)", "population", "none", "drawdown", needs_order=True),
)
MEASURES: Mapping[str, Definition] = MappingProxyType({row.word: row for row in _ROWS})

_OF_MOMENTS: Mapping[str, Callable[[Moments], RiskMeasure]] = MappingProxyType(
    {"volatility": Volatility, "variance": Variance}
)
_OF_SCENARIOS: Mapping[str, Callable[[Scenarios, MeasureSettings], RiskMeasure]] = MappingProxyType(
    {
        "semi_deviation": lambda scenarios, settings: SemiDeviation(scenarios, settings.target),
        "mad": lambda scenarios, _: MeanAbsoluteDeviation(scenarios),
        "gini": lambda scenarios, _: GiniMeanDifference(scenarios),
        "var": lambda scenarios, settings: ValueAtRisk(scenarios, settings.confidence_level),
        "cvar": lambda scenarios, settings: ConditionalValueAtRisk(scenarios, settings.confidence_level),
        "evar": lambda scenarios, settings: EntropicValueAtRisk(scenarios, settings.confidence_level),
        "worst_realization": lambda scenarios, _: WorstRealization(scenarios),
        "max_drawdown": lambda scenarios, _: MaximumDrawdown(scenarios),
        "average_drawdown": lambda scenarios, _: AverageDrawdown(scenarios),
        "cdar": lambda scenarios, settings: ConditionalDrawdownAtRisk(scenarios, settings.confidence_level),
        "ulcer": lambda scenarios, _: UlcerIndex(scenarios),
    }
)


def make_measure(
    word: str, moments: Moments, scenarios: Scenarios | None = None, settings: MeasureSettings | None = None
) -> RiskMeasure:
    """The measure of a word.

    Args:
        word: A key of `MEASURES`.
        moments: Of the n assets.
        scenarios: Of the same assets; volatility and variance do without.
        settings: Confidence level and target; None = the defaults.

    Raises:
        ProblemError: The word is unknown, scenarios are missing, of other assets, or not in the order of time where
            that is needed.
    """
    if word in _OF_MOMENTS:
        return _OF_MOMENTS[word](moments)
    if word not in _OF_SCENARIOS:
        raise ProblemError("risk_measure", f"must be one of {', '.join(MEASURES)}, not {word!r}")
    if scenarios is None:
        raise ProblemError("risk_measure", f"{word} needs a history of returns or scenarios")
    if scenarios.names != moments.names:
        raise ProblemError("scenarios", "must be of the same assets, in the same order, as the expected returns")
    return _OF_SCENARIOS[word](scenarios, settings or MeasureSettings())
