"""Every objective x measure x family of limits on the zoo of markets, judged without the kernel."""

from itertools import combinations

import pytest

from kernel.measures.registry import MEASURES as REGISTERED
from tests.unit.kernel.contract.cases import FAMILIES, MEASURES, OBJECTIVES
from tests.unit.kernel.contract.design import every_pair, is_posed, random_combinations
from tests.unit.kernel.contract.judging import judge
from tests.unit.kernel.contract.markets import MARKETS

PAIRS = every_pair()
COMBINATIONS = random_combinations(60)


def test_the_zoo_holds_every_measure():
    assert set(REGISTERED) <= set(MEASURES)


def test_every_pair_of_words_is_tried():
    tried = set()
    for case in PAIRS:
        tried |= set(combinations((case.market_name, case.objective, case.measure, *case.families), 2))
    tables = [MARKETS, OBJECTIVES, MEASURES, FAMILIES]
    for a, b in combinations(range(len(tables)), 2):
        for x in tables[a]:
            for y in tables[b]:
                assert (x, y) in tried or ((a, b) == (1, 2) and not is_posed(y, x))


@pytest.mark.parametrize("case", PAIRS, ids=lambda case: case.id)
def test_the_answer_is_best_certified_and_feasible(case):
    judge(case)


@pytest.mark.parametrize("case", COMBINATIONS, ids=lambda case: case.id)
def test_limits_combine(case):
    judge(case)
