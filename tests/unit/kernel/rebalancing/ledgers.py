"""Ledgers of purchases and sales for the tests of the wash-sale engine."""

import datetime as dt
from decimal import Decimal

from kernel.rebalancing.household import Account, Household, IdenticalInstruments, WashPolicies
from kernel.rebalancing.tax_rules import TaxRuleSet
from kernel.rebalancing.wash_ledger import settle_ledger
from kernel.rebalancing.wash_sales import AccountPurchase, AccountSale

RULES = TaxRuleSet("US", dt.date.min, 12, 30, Decimal(3000), Decimal(1500), source="26 USC 1091, 1211(b), 1222")
DEFAULT = WashPolicies()


def day(text):
    return dt.date.fromisoformat(text)


def buy(lot, when, quantity, cost, account="taxable", instrument="XYZ"):
    return AccountPurchase(account, lot, instrument, Decimal(quantity), Decimal(cost), day(when))


def sell(sale, when, price, *lots, account="taxable", instrument="XYZ"):
    """lots: pairs of a lot id and shares."""
    taken = tuple((lot, Decimal(quantity)) for lot, quantity in lots)
    return AccountSale(account, sale, instrument, taken, Decimal(price), day(when))


def household(*retirement, pairs=(), taxable=("taxable",)):
    accounts = (*(Account(name) for name in taxable), *(Account(name, retirement=True) for name in retirement))
    return Household(accounts, identical=IdenticalInstruments.of_pairs(pairs))


def settle(*events, policies=DEFAULT, start=None, rules=(RULES,)):
    return settle_ledger(events, rules, policies, start=household() if start is None else start)


def lots_of(report):
    """Quantity, unit cost and start of the holding period by lot id."""
    return {held.lot_id: (held.quantity, held.lot.unit_cost, held.held_from) for held in report.lots}
