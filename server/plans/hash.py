"""What a plan was made from, as hashes: an approval holds for these inputs alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from storage.records import Json, Portfolio

POSITION_PARTS = ("holdings", "lots", "cash", "account")


@dataclass(frozen=True, slots=True)
class PlanHash:
    """The inputs of a plan.

    Attributes:
        parts: SHA-256 of each part, 64 hexadecimal digits: holdings, lots, cash, account, prices, rules, request,
            household.
        value: SHA-256 of the parts together.
    """

    parts: Mapping[str, str]
    value: str


def plan_hash(
    position: Portfolio,
    prices: Mapping[str, Decimal],
    rules: Mapping[str, str],
    request: Json,
    pricing_pack_id: str,
    *,
    exposure: Json | None = None,
) -> PlanHash:
    """The hash of all that a plan is made from. Equal numbers hash alike, however they are written.

    Args:
        position: The portfolio as it was read for the plan; its name, preferences and time of change do not count.
        prices: All prices used.
        rules: What the plan was made by, with versions: tax rules, policy.
        request: The request as JSON.
        pricing_pack_id: Pack of the prices.
        exposure: What the trades meet in the wash-sale window of the household, identical instruments included.
    """
    parts = {
        **position_parts(position),
        "prices": _digest({"pack": pricing_pack_id, "prices": dict(prices)}),
        "rules": _digest(dict(rules)),
        "request": _digest(request),
        "household": _digest(exposure or {}),
    }
    return PlanHash(parts, _digest(parts))


def position_parts(portfolio: Portfolio) -> dict[str, str]:
    """The hashes of what is held and of how the account may trade and is taxed, by part."""
    return {
        "holdings": _digest({held.instrument_id: held.quantity for held in portfolio.holdings if held.quantity}),
        "lots": _digest(
            {
                lot.id: [
                    lot.instrument_id,
                    lot.quantity,
                    lot.acquired_on,
                    lot.cost_per_share,
                    lot.held_since,
                    lot.replaced_loss,
                ]
                for lot in portfolio.lots
            }
        ),
        "cash": _digest(portfolio.cash),
        "account": _digest(
            {
                "settings": portfolio.account,
                "short_term_rate": portfolio.short_term_tax_rate,
                "long_term_rate": portfolio.long_term_tax_rate,
                "lot_method": portfolio.lot_method,
                "base_currency": portfolio.base_currency,
            }
        ),
    }


def _digest(content: object) -> str:
    text = json.dumps(_plain(content), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(content: object) -> object:
    """The content as JSON in one canonical form."""
    match content:
        case Decimal():
            return f"{content.normalize():f}" if content else "0"
        case date():
            return content.isoformat()
        case Mapping():
            return {str(key): _plain(value) for key, value in content.items()}
        case list() | tuple():
            return [_plain(value) for value in content]
        case _:
            return content
