"""Which cases of the zoo are tried: every pair of market, objective, measure and family, and seeded combinations."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np

from tests.unit.kernel.contract.cases import FAMILIES, MEASURES, OBJECTIVES, Case
from tests.unit.kernel.contract.markets import MARKETS

_FACTORS = (MEASURES, FAMILIES, MARKETS, OBJECTIVES)


def is_posed(measure: str, objective: str) -> bool:
    """The value at risk is no convex term, so custom objectives refuse it."""
    return not (measure == "var" and objective == "terms")


def every_pair() -> list[Case]:
    """Greedily few cases that hold every pair of words, beginning with measure x family, the largest table."""
    missing = {
        (a, x, b, y)
        for a, b in combinations(range(len(_FACTORS)), 2)
        for x, y in product(_FACTORS[a], _FACTORS[b])
        if (a, b) != (0, 3) or is_posed(x, y)
    }
    cases = []
    for measure, family in product(MEASURES, FAMILIES):
        cases.append(_richest(measure, family, missing))
        missing -= _pairs(cases[-1])
    for a, x, b, y in sorted(missing):
        if (a, x, b, y) in missing:
            fixed = {a: x, b: y}
            cases.append(tuple(fixed.get(k, words[len(cases) % len(words)]) for k, words in enumerate(_FACTORS)))
            missing -= _pairs(cases[-1])
    return [_case(words) for words in cases]


def _richest(measure: str, family: str, missing: set) -> tuple[str, ...]:
    """The market and objective that bring most missing pairs; of equals those whose turn it is."""
    options = [
        (measure, family, market, objective)
        for market, objective in product(MARKETS, OBJECTIVES)
        if is_posed(measure, objective)
    ]
    turn = (MEASURES.index(measure) * 7 + FAMILIES.index(family) * 5) % len(options)
    return max(options[turn:] + options[:turn], key=lambda words: len(_pairs(words) & missing))


def _pairs(words: tuple[str, ...]) -> set:
    return {(a, words[a], b, words[b]) for a, b in combinations(range(len(words)), 2)}


def _case(words: tuple[str, ...]) -> Case:
    measure, family, market, objective = words
    return Case(market, objective, measure, (family,))


def random_combinations(count: int) -> list[Case]:
    """Two to four families at once, in any market."""
    rng = np.random.default_rng(2024)
    families, cases = FAMILIES[1:], []
    while len(cases) < count:
        chosen = tuple(families[i] for i in sorted(rng.choice(len(families), rng.integers(2, 5), replace=False)))
        measure, objective, market = (str(rng.choice(words)) for words in (MEASURES, OBJECTIVES, MARKETS))
        if is_posed(measure, objective) and sum("turnover" in family for family in chosen) < 2:
            cases.append(Case(market, objective, measure, chosen))
    return cases
