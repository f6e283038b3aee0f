"""The wash-sale engine against the share-by-share one on thousands of random ledgers."""

import itertools
import random
from collections import Counter

import pytest

from kernel.rebalancing.lots import Term
from tests.unit.kernel.rebalancing import share_by_share
from tests.unit.kernel.rebalancing.random_ledgers import Engine, random_events, random_reading, root

READINGS = list(itertools.product((False, True), repeat=3))
LEDGERS_PER_READING = 500


def cents(amount):
    assert amount * 100 == (amount * 100).to_integral_value()
    return int(amount * 100)


def sums(report):
    """The report in the shape of the other engine's outcome."""
    found = share_by_share.Outcome()
    for sale in report.sales:
        key = (sale.account_id, sale.sale_id, root(sale.lot_id), sale.term is Term.LONG)
        found.gain[key] += cents(sale.gain)
        found.disallowed[key] += cents(sale.disallowed)
        found.lost[key] += cents(sale.lost)
        for match in sale.matches:
            assert (match.sale_account_id, match.sale_id, match.sold_lot_id) == (
                sale.account_id,
                sale.sale_id,
                sale.lot_id,
            )
            per_share = cents(match.disallowed / match.quantity)
            found.matches[(*key[:3], match.account_id, root(match.lot_id), per_share, match.lost)] += int(
                match.quantity
            )
    for held in report.lots:
        per_share = (cents(held.lot.basis / held.quantity), held.held_from, held.lot.replaced_loss)
        found.held[held.account_id, held.instrument_id, root(held.lot_id)][per_share] += int(held.quantity)
    for year, gains in report.gains_by_year.items():
        found.years[year, False] += cents(gains.short_term)
        found.years[year, True] += cents(gains.long_term)
    return found


def assert_same(found, expected):
    for name in ("gain", "disallowed", "lost", "matches", "years"):
        assert drop_zero(getattr(found, name)) == drop_zero(getattr(expected, name)), name
    assert {key: dict(value) for key, value in found.held.items()} == {
        key: dict(value) for key, value in expected.held.items()
    }


def drop_zero(counter):
    return {key: value for key, value in counter.items() if value}


@pytest.mark.parametrize("choice", READINGS)
def test_both_engines_agree(choice):
    generator = random.Random(repr(choice))
    seen = Counter()
    for _ in range(LEDGERS_PER_READING):
        reading = random_reading(generator, choice)
        events = random_events(generator)
        expected = share_by_share.settle(events, reading)
        assert_same(sums(Engine(reading).run(events)), expected)
        seen["matches"] += len(expected.matches)
        seen["lost"] += len(expected.lost)
    assert seen["matches"] > LEDGERS_PER_READING
    assert seen["lost"] > LEDGERS_PER_READING / 10
