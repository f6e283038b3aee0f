"""Ids of the parts that a wash sale splits off, and which shares come from one purchase."""

import datetime as dt
from decimal import Decimal

import pytest

from kernel.rebalancing.household import HouseholdLot, SettledSale
from kernel.rebalancing.lots import TaxLot, Term
from kernel.rebalancing.wash_parts import is_part_of, is_same_purchase, part_id

DAY = dt.date(2025, 6, 2)
LONG = "0123456789abcdef0123456789abcdef0123"
# 18 characters and the first 12 digits of the SHA-256 hash, as `printf %s LONG | sha256sum` gives it.
SHORT_OF_LONG = f"{LONG[:18]}fa8e5a7249b0"


def sold(lot_id):
    zero = Decimal(0)
    return SettledSale("own", "s", "XYZ", lot_id, Decimal(1), zero, zero, zero, Term.SHORT, DAY, DAY)


def held(lot_id, account="own", instrument="XYZ", day=DAY):
    return HouseholdLot(account, instrument, TaxLot(lot_id, Decimal(1), Decimal(1), day))


@pytest.mark.parametrize(
    ("lot_id", "taken", "part"),
    [
        ("A", set(), "A~1"),
        ("A", {"A~1", "A~3"}, "A~2"),
        ("A~1", {"A~1"}, "A~2"),
        ("A~x", set(), "A~x~1"),
        (LONG, set(), f"{SHORT_OF_LONG}~1"),
        (f"{LONG[:30]}~1", {f"{LONG[:30]}~1"}, f"{LONG[:30]}~2"),
    ],
)
def test_a_part_takes_the_first_free_number(lot_id, taken, part):
    assert part_id(lot_id, taken) == part
    assert len(part) <= 36


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("A", "A", True),
        ("A", "A~1", True),
        ("A~2", "A~1", True),
        ("A", "B", False),
        ("A~1", "B~1", False),
        ("A~x", "A~y", False),
        ("A", "A~x", False),
        (LONG, f"{SHORT_OF_LONG}~1", True),
        (LONG, f"{LONG[:-1]}9", False),
        (LONG, f"{LONG[:30]}~1", False),
        (LONG, f"{LONG[:29]}~1", False),
    ],
)
def test_parts_of_one_purchase_share_a_stem(one, other, same):
    assert is_same_purchase(sold(one), held(other)) is same
    assert is_same_purchase(sold(other), held(one)) is same


@pytest.mark.parametrize("place", [{"account": "spouse"}, {"instrument": "Q"}, {"day": DAY - dt.timedelta(days=1)}])
def test_another_account_instrument_or_day_is_another_purchase(place):
    assert not is_same_purchase(sold("A"), held("A", **place))


@pytest.mark.parametrize(
    ("part", "whole", "is_part"),
    [
        ("A~1", "A", True),
        ("A~12", "A", True),
        ("A", "A", False),
        ("A~2", "A~1", False),
        ("AB~1", "A", False),
        (f"{SHORT_OF_LONG}~3", LONG, True),
        (f"{SHORT_OF_LONG}~3", f"{LONG[:-1]}9", False),
        (f"{LONG[:30]}~1", LONG, False),
    ],
)
def test_parts_of_a_whole_lot(part, whole, is_part):
    assert is_part_of(part, whole) is is_part
