"""Who pays for whom: examples by hand, and safety in any order by exhaustion."""

import random
from decimal import Decimal
from itertools import combinations

import pytest

from kernel.errors import ProblemError
from kernel.rebalancing.funding import fund


def funded(payments, needs, cash=0):
    return fund([Decimal(p) for p in payments], [Decimal(n) for n in needs], Decimal(cash))


@pytest.mark.parametrize(
    ("payments", "needs", "cash", "expected"),
    [
        ([], [], 0, ()),
        ([5], [], 0, ()),
        ([], [5], 5, ((),)),
        ([5], [5], 0, ((0,),)),
        ([5], [5], 5, ((),)),
        ([5, 5], [5, 5], 0, ((0,), (1,))),
        ([5, 5], [6, 4], 0, ((0, 1), (1,))),
        ([30, 100], [80], 0, ((1,),)),  # the second has enough for all of it
        ([30, 100], [110], 0, ((0, 1),)),
        ([30, 30, 100], [40, 100], 0, ((0, 1), (2,))),  # what is left with the third lets the second go
        ([10, 20, 30], [15, 35], 0, ((1,), (1, 2))),
        ([6, 4], [8, 6], 4, ((0,), (1,))),  # the first leaves cash to the second and takes all of its sale
        ([30, 100], [10, 60], -25, ((0, 1), (0, 1))),  # the first makes up for the overdraft, both wait for it
        ([10, 50, 50], [10, 20], -5, ((0, 1), (0, 1))),
        ([0, 5], [5], 0, ((1,),)),
    ],
)
def test_by_hand(payments, needs, cash, expected):
    assert funded(payments, needs, cash) == expected


def test_more_than_there_is():
    with pytest.raises(ProblemError, match=r"orders: take 0\.01 more"):
        funded([10], ["15.01"], 5)
    with pytest.raises(ProblemError, match="take 1 more"):
        funded([10], [], -11)


def is_safe(payments, needs, cash, waits):
    """Whether cash stays at zero or above when any takers are served with nobody but those they wait for."""
    for size in range(1, len(needs) + 1):
        for chosen in combinations(range(len(needs)), size):
            paid = {payer for taker in chosen for payer in waits[taker]}
            if cash + sum(payments[payer] for payer in paid) < sum(needs[taker] for taker in chosen):
                return False
    return True


def random_case(seed):
    chance = random.Random(seed)
    payments = [chance.randint(0, 9) for _ in range(chance.randint(0, 5))]
    needs = [chance.randint(1, 9) for _ in range(chance.randint(1, 5))]
    return payments, needs, max(chance.randint(-6, 6), sum(needs) - sum(payments))


def test_safe_in_any_order():
    for seed in range(3000):
        payments, needs, cash = random_case(seed)
        waits = funded(payments, needs, cash)
        assert is_safe(payments, needs, cash, waits), (payments, needs, cash, waits)


def test_every_wait_is_indispensable():
    """Without any one of them, but for those that make up for an overdraft, some order of events overdraws."""
    found = 0
    for seed in range(3000):
        payments, needs, cash = random_case(seed)
        waits = funded(payments, needs, cash)
        if cash < 0:
            continue
        found += sum(map(len, waits))
        assert sum(map(len, waits)) <= max(0, len(payments) + len(needs) - 1)
        for taker, payers in enumerate(waits):
            for payer in payers:
                fewer = [*waits[:taker], tuple(p for p in payers if p != payer), *waits[taker + 1 :]]
                assert not is_safe(payments, needs, cash, fewer), (payments, needs, cash, waits)
    assert found > 3000
