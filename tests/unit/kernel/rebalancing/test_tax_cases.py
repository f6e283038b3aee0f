"""Netting against the shared known answers."""

from decimal import Decimal

import pytest

from kernel.rebalancing.lots import GainRates, Term
from kernel.rebalancing.tax import NetGains, TaxRules, tax_on
from tests.unit.kernel.rebalancing.golden_cases import load_cases

CASES = load_cases("loss_netting")
ZERO = Decimal(0)


def bill_of(inputs):
    gains = NetGains(Decimal(inputs["st_gain"]) - inputs["st_loss"], Decimal(inputs["lt_gain"]) - inputs["lt_loss"])
    return tax_on(gains, TaxRules(GainRates(Decimal("0.37"), Decimal("0.20")), loss_limit=Decimal(inputs["limit"])))


@pytest.mark.parametrize("case", [case for case, body in CASES.items() if "deduction" in body["expected"]])
def test_deduction_and_carry_over(case):
    bill, expected = bill_of(CASES[case]["inputs"]), CASES[case]["expected"]
    found = {
        "net": bill.gains.total,
        "deduction": bill.deduction,
        "carry_short": bill.carried_short_term,
        "carry_long": bill.carried_long_term,
        "carryover_total": bill.carried_short_term + bill.carried_long_term,
    }
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize("case", ["net-08", "net-09"])
def test_published_withdrawals(case):
    inputs = CASES[case]["inputs"]
    rules = TaxRules(GainRates(inputs["rate_st"], inputs["rate_lt"]))
    tax = tax_on(NetGains(Decimal(inputs["st_net"]), Decimal(inputs["lt_net"])), rules).tax
    assert abs(tax - CASES[case]["expected"]["tax"]) <= CASES[case]["tolerance"]


def test_rate_times_gain_is_not_the_tax():
    """What per-lot taxes claim in the published cases, and what netting makes of it."""
    inputs, expected = CASES["net-09"]["inputs"], CASES["net-09"]["expected"]
    rates = GainRates(inputs["rate_st"], inputs["rate_lt"])
    gains = NetGains(Decimal(inputs["st_net"]), Decimal(inputs["lt_net"]))
    linear = gains.short_term * rates.of(Term.SHORT) + gains.long_term * rates.of(Term.LONG)
    assert linear == expected["per_lot_linear_tax"]
    assert tax_on(gains, TaxRules(rates)).tax - linear > 245
    claim = CASES["net-10"]["expected"]
    assert CASES["net-10"]["inputs"]["harvest_st_loss"] * Decimal("0.408") == claim["linear_claim"] > claim["tax_saved"]


def test_a_harvested_loss_is_worth_the_rate_it_offsets():
    inputs = CASES["net-10"]["inputs"]
    rules = TaxRules(GainRates(inputs["rate_st"], inputs["rate_lt"]))
    before = tax_on(NetGains(ZERO, Decimal(inputs["ytd_lt_net"])), rules).tax
    after = tax_on(NetGains(-Decimal(inputs["harvest_st_loss"]), Decimal(inputs["ytd_lt_net"])), rules).tax
    assert before - after == CASES["net-10"]["expected"]["tax_saved"]


def test_beyond_the_limit_only_a_carry_over_is_left():
    inputs, expected = CASES["net-11"]["inputs"], CASES["net-11"]["expected"]
    rules = TaxRules(GainRates(Decimal("0.37"), Decimal("0.2")), Decimal(inputs["limit"]), inputs["ordinary_rate"])
    bill = tax_on(NetGains(-Decimal(inputs["harvest_st_loss"]), ZERO), rules)
    assert -bill.tax == expected["tax_saved_this_year"]
    assert bill.carried_short_term == expected["carry_short"]


def test_every_case_is_posed():
    assert set(CASES) == {f"net-{number:02}" for number in range(1, 12)}
