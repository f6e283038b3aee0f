"""Instruments, a portfolio, a benchmark and prices as a caller would send them."""

import math
from collections.abc import Iterable, Sequence

from portfolio_optimization.v1 import instruments_pb2, market_data_pb2, optimization_pb2, taxes_pb2, trade_pb2
from portfolio_optimization.v1 import policies_pb2 as policies
from portfolio_optimization.v1 import portfolio_data_pb2 as pb
from portfolio_optimization.v1.portfolio_data_service_pb2_grpc import PortfolioDataServiceStub

DAYS = ("2022-12-26", "2022-12-27", "2022-12-28")


def instrument(instrument_id: str = "AAPL", **changes: object) -> instruments_pb2.Instrument:
    plain = {
        "instrument_id": instrument_id,
        "name": "A company, Zürich",
        "asset_class": "equity",
        "sector": "Energy",
        "country": "US",
        "currency": "USD",
        "lot_size": "0.000001",
        "quality_score": 7.25,
        "average_daily_volume": 1234567.5,
        "market_cap_amount": "2500000000000.50",
        "status": instruments_pb2.INSTRUMENT_STATUS_HALTED,
        "source": "annual report, 2022-12-31",
    }
    return instruments_pb2.Instrument(**{**plain, **changes})


async def store_instruments(data: PortfolioDataServiceStub, *ids: str) -> None:
    instruments = [instrument(name) for name in ids]
    await data.UpsertInstruments(instruments_pb2.UpsertInstrumentsRequest(instruments=instruments))


def portfolio(**changes: object) -> pb.Portfolio:
    """With every field set, in the order and spelling in which it comes back."""
    plain = {
        "portfolio_id": "family",
        "name": "Family account",
        "base_currency": "USD",
        "cash_amount": "1234.50",
        "holdings": [
            pb.Holding(instrument_id="AAPL", quantity="10.123456"),
            pb.Holding(instrument_id="KO", quantity="-30"),
            pb.Holding(instrument_id="XOM", quantity="5"),
        ],
        "lots": [
            lot(
                "1",
                acquired_on="2021-03-01",
                quantity="10.000001",
                cost_per_share_amount="99.99999999999999999",
                held_since="2020-12-01",
                replaced_loss=True,
            ),
            lot("2", quantity="0.123455"),
        ],
        "benchmark_id": "half",
        "account": pb.AccountSettings(
            account_type=pb.ACCOUNT_TYPE_TAX_DEFERRED,
            household_id="home",
            margin_enabled=True,
            shorting_enabled=True,
            option_approval_level=5,
            do_not_buy=["KO"],
            do_not_sell=["XOM"],
            do_not_trade=["NOT-STORED"],
            maintenance_margin=0.35,
        ),
        "tax": pb.TaxSettings(
            short_term_rate=0.408,
            long_term_rate=0.238,
            lot_method=trade_pb2.LOT_METHOD_LEAST_TAX,
            yearly_loss_limit_amount="3000",
            realized_short_term_amount="-12.5",
            realized_long_term_amount="7",
            carried_short_term_loss_amount="0.01",
            carried_long_term_loss_amount="1",
            realized_year=2026,
            ordinary_rate=0.0,
            carried_loss_value=0.2,
            dated_rates=[
                taxes_pb2.DatedTaxRates(from_date="2023-01-01", short_term_rate=0.41, long_term_rate=0.24),
                taxes_pb2.DatedTaxRates(from_date="2024-01-01"),
            ],
            wash_sale_policies=taxes_pb2.WashSalePolicies(
                same_purchase=taxes_pb2.WashSalePolicies.SAME_PURCHASE_LITERAL,
                holding_period=taxes_pb2.WashSalePolicies.HOLDING_PERIOD_COPY_DATE,
                count_sold_replacements=True,
            ),
            files_separately=True,
            jurisdiction="US",
        ),
        "preferences": preferences(),
    }
    return pb.Portfolio(**{**plain, **changes})


def preferences() -> pb.PortfolioPreferences:
    return pb.PortfolioPreferences(
        optimization=optimization_pb2.OptimizationPreferences(risk_aversion=2.5, transaction_cost_model=0.001),
        rebalancing=policies.RebalancingPreferences(
            target_type="custom",
            custom_target={"AAPL": 0.6, "KO": 0.4},
            schedule=policies.REBALANCE_SCHEDULE_MONTHLY,
            approval_limit_amount="10000.00",
            approval_validity_hours=24.0,
            alert_emails=["owner@example.org"],
        ),
    )


def lot(lot_id: str, instrument_id: str = "AAPL", **changes: object) -> pb.TaxLot:
    return pb.TaxLot(lot_id=lot_id, instrument_id=instrument_id, **{"quantity": "1", **changes})


def benchmark(**changes: object) -> pb.Benchmark:
    plain = {
        "benchmark_id": "half",
        "name": "Half and half",
        "weights": {"AAPL": 0.5, "KO": 0.5},
        "index_instrument_id": "XOM",
        "source": "by definition",
    }
    return pb.Benchmark(**{**plain, **changes})


Prices = market_data_pb2.LoadPricingPackRequest
Returns = market_data_pb2.LoadFactorReturnsRequest


def price_header(dates: Sequence[str] = DAYS, **changes: object) -> Prices:
    header = market_data_pb2.PricingPackHeader(**{"source": "by hand", "dates": dates, **changes})
    return Prices(header=header)


def price_block(**closes: Sequence[float]) -> Prices:
    series = [market_data_pb2.PriceSeries(instrument_id=name, closes=values) for name, values in closes.items()]
    return Prices(block=market_data_pb2.PriceBlock(series=series))


def prices() -> list[Prices]:
    """Two instruments in two blocks; one of them begins a day late."""
    return [price_header(), price_block(KO=[63.5, 64.0, 63.25]), price_block(AAPL=[math.nan, 130.0, 126.04])]


def factor_header(dates: Sequence[str] = DAYS, **changes: object) -> Returns:
    return Returns(header=market_data_pb2.FactorSetHeader(**{"source": "by hand", "dates": dates, **changes}))


def factor_series(factor: str, returns: Iterable[float]) -> Returns:
    return Returns(series=market_data_pb2.FactorSeries(factor=factor, returns=returns))


def returns() -> list[Returns]:
    """Two factors, not in the order of their names."""
    return [factor_header(), factor_series("value", [0.01, 0.0, -0.02]), factor_series("momentum", [0.0, 1e-9, 2.0])]
