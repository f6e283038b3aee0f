"""PortfolioDataService."""

from __future__ import annotations

from collections.abc import AsyncIterator

from portfolio_optimization.v1 import instruments_pb2, market_data_pb2, model_data_pb2, portfolio_data_pb2, taxes_pb2
from portfolio_optimization.v1.portfolio_data_service_pb2_grpc import PortfolioDataServiceServicer

from server.convert.benchmarks import write_benchmark
from server.convert.faults import Faults
from server.convert.instruments import write_instrument
from server.convert.market_data import write_factor_set, write_pack
from server.convert.portfolios import write_portfolio, write_portfolio_summary, write_valuation
from server.convert.taxes import write_match
from server.convert.text_values import read_day, read_words
from server.convert.transactions import write_rules, write_transaction
from server.services.calls import Context, page_size, read_cursor, write_cursor
from server.services.pages import cut, read_place, read_transaction_place, write_place, write_transaction_place
from server.settings import Settings
from server.workflows.market_data import MarketDataWorkflow
from server.workflows.model_data import ModelDataWorkflow
from server.workflows.portfolios import PortfolioWorkflow
from server.workflows.reference_data import ReferenceDataWorkflow
from server.workflows.tax_data import TaxDataWorkflow
from storage.database import Database
from storage.records import utc_now

_USUAL_RULES = "US"


class DataService(PortfolioDataServiceServicer):
    """Instruments, portfolios, benchmarks, prices, factor returns and the caller's own model inputs."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._reference = ReferenceDataWorkflow(database, settings)
        self._portfolios = PortfolioWorkflow(database, settings)
        self._market = MarketDataWorkflow(database)
        self._models = ModelDataWorkflow(database, settings)
        self._tax_data = TaxDataWorkflow(database, settings)

    async def UpsertInstruments(
        self, request: instruments_pb2.UpsertInstrumentsRequest, context: Context
    ) -> instruments_pb2.UpsertInstrumentsResponse:
        """Store instruments, all or none."""
        created, updated = await self._reference.put_instruments(request)
        return instruments_pb2.UpsertInstrumentsResponse(created=created, updated=updated)

    async def GetInstrument(
        self, request: instruments_pb2.GetInstrumentRequest, context: Context
    ) -> instruments_pb2.GetInstrumentResponse:
        """One instrument."""
        _check_id("instrument_id", request.instrument_id)
        instrument = await self._reference.instrument(request.instrument_id)
        return instruments_pb2.GetInstrumentResponse(instrument=write_instrument(instrument))

    async def ListInstruments(
        self, request: instruments_pb2.ListInstrumentsRequest, context: Context
    ) -> instruments_pb2.ListInstrumentsResponse:
        """Instruments in the order of their ids."""
        size, after = page_size(request.page_size), read_place(request.page_token)
        faults = Faults()
        read_words("asset_class", request.asset_class, faults)
        read_words("sector", request.sector, faults)
        faults.check()
        rows = await self._reference.instruments(size + 1, after, request.asset_class, request.sector)
        page = cut(rows, size, lambda row: write_place(row.id))
        return instruments_pb2.ListInstrumentsResponse(
            instruments=map(write_instrument, page.rows), next_page_token=page.next_token
        )

    async def PutPortfolio(
        self, request: portfolio_data_pb2.PutPortfolioRequest, context: Context
    ) -> portfolio_data_pb2.PutPortfolioResponse:
        """Store a portfolio as a whole."""
        portfolio, created = await self._portfolios.put(request)
        message = write_portfolio(portfolio)
        if request.validate_only:
            message.ClearField("updated_at")
        return portfolio_data_pb2.PutPortfolioResponse(portfolio=message, created=created)

    async def GetPortfolio(
        self, request: portfolio_data_pb2.GetPortfolioRequest, context: Context
    ) -> portfolio_data_pb2.GetPortfolioResponse:
        """One portfolio and its value."""
        faults = Faults()
        faults.identifier("portfolio_id", request.portfolio_id)
        faults.identifier("pricing_pack_id", request.pricing_pack_id, required=False)
        faults.check()
        portfolio, valuation = await self._portfolios.find(request.portfolio_id, request.pricing_pack_id)
        return portfolio_data_pb2.GetPortfolioResponse(
            portfolio=write_portfolio(portfolio), valuation=None if valuation is None else write_valuation(valuation)
        )

    async def ListPortfolios(
        self, request: portfolio_data_pb2.ListPortfoliosRequest, context: Context
    ) -> portfolio_data_pb2.ListPortfoliosResponse:
        """Portfolios in the order of their ids."""
        size, after = page_size(request.page_size), read_place(request.page_token)
        page = cut(await self._portfolios.page(size + 1, after), size, lambda row: write_place(row.id))
        return portfolio_data_pb2.ListPortfoliosResponse(
            portfolios=map(write_portfolio_summary, page.rows), next_page_token=page.next_token
        )

    async def PutBenchmark(
        self, request: portfolio_data_pb2.PutBenchmarkRequest, context: Context
    ) -> portfolio_data_pb2.PutBenchmarkResponse:
        """Store a benchmark as a whole."""
        benchmark, created = await self._reference.put_benchmark(request)
        return portfolio_data_pb2.PutBenchmarkResponse(benchmark=write_benchmark(benchmark), created=created)

    async def GetBenchmark(
        self, request: portfolio_data_pb2.GetBenchmarkRequest, context: Context
    ) -> portfolio_data_pb2.GetBenchmarkResponse:
        """One benchmark."""
        _check_id("benchmark_id", request.benchmark_id)
        benchmark = await self._reference.benchmark(request.benchmark_id)
        return portfolio_data_pb2.GetBenchmarkResponse(benchmark=write_benchmark(benchmark))

    async def ListBenchmarks(
        self, request: portfolio_data_pb2.ListBenchmarksRequest, context: Context
    ) -> portfolio_data_pb2.ListBenchmarksResponse:
        """Benchmarks in the order of their ids."""
        size, after = page_size(request.page_size), read_place(request.page_token)
        page = cut(await self._reference.benchmarks(size + 1, after), size, lambda row: write_place(row.id))
        return portfolio_data_pb2.ListBenchmarksResponse(
            benchmarks=map(write_benchmark, page.rows), next_page_token=page.next_token
        )

    async def LoadPricingPack(
        self, request_iterator: AsyncIterator[market_data_pb2.LoadPricingPackRequest], context: Context
    ) -> market_data_pb2.LoadPricingPackResponse:
        """Load a pricing pack, as a whole or not at all."""
        return await self._market.load_prices(request_iterator)

    async def GetPricingPack(
        self, request: market_data_pb2.GetPricingPackRequest, context: Context
    ) -> market_data_pb2.GetPricingPackResponse:
        """One pricing pack, without its prices."""
        _check_id("pricing_pack_id", request.pricing_pack_id)
        pack = await self._market.pricing_pack(request.pricing_pack_id)
        return market_data_pb2.GetPricingPackResponse(pricing_pack=write_pack(pack))

    async def ListPricingPacks(
        self, request: market_data_pb2.ListPricingPacksRequest, context: Context
    ) -> market_data_pb2.ListPricingPacksResponse:
        """Pricing packs, newest first, without the names of their instruments."""
        faults = Faults()
        faults.identifier("instrument_id", request.instrument_id, required=False)
        faults.check()
        size, before = page_size(request.page_size), read_cursor(request.page_token)
        rows = await self._market.pricing_packs(size + 1, before, request.instrument_id)
        page = cut(rows, size, lambda row: write_cursor(row.created_at, row.id))
        packs = [write_pack(row) for row in page.rows]
        for pack in packs:
            pack.ClearField("instrument_ids")
        return market_data_pb2.ListPricingPacksResponse(pricing_packs=packs, next_page_token=page.next_token)

    async def LoadFactorReturns(
        self, request_iterator: AsyncIterator[market_data_pb2.LoadFactorReturnsRequest], context: Context
    ) -> market_data_pb2.LoadFactorReturnsResponse:
        """Load a factor set, as a whole or not at all."""
        return await self._market.load_returns(request_iterator)

    async def GetFactorSet(
        self, request: market_data_pb2.GetFactorSetRequest, context: Context
    ) -> market_data_pb2.GetFactorSetResponse:
        """One factor set, without its returns."""
        _check_id("factor_set_id", request.factor_set_id)
        factor_set = await self._market.factor_set(request.factor_set_id)
        return market_data_pb2.GetFactorSetResponse(factor_set=write_factor_set(factor_set))

    async def ListFactorSets(
        self, request: market_data_pb2.ListFactorSetsRequest, context: Context
    ) -> market_data_pb2.ListFactorSetsResponse:
        """Factor sets, newest first."""
        size, before = page_size(request.page_size), read_cursor(request.page_token)
        rows = await self._market.factor_sets(size + 1, before)
        page = cut(rows, size, lambda row: write_cursor(row.created_at, row.id))
        return market_data_pb2.ListFactorSetsResponse(
            factor_sets=map(write_factor_set, page.rows), next_page_token=page.next_token
        )

    async def LoadFactorExposures(
        self, request_iterator: AsyncIterator[model_data_pb2.LoadFactorExposuresRequest], context: Context
    ) -> model_data_pb2.LoadFactorExposuresResponse:
        """Load factor exposures, as a whole or not at all."""
        return await self._models.load_exposures(request_iterator)

    async def LoadForecast(
        self, request: model_data_pb2.LoadForecastRequest, context: Context
    ) -> model_data_pb2.LoadForecastResponse:
        """Load a forecast."""
        return await self._models.load_forecast(request)

    async def LoadCovariance(
        self, request_iterator: AsyncIterator[model_data_pb2.LoadCovarianceRequest], context: Context
    ) -> model_data_pb2.LoadCovarianceResponse:
        """Load a covariance, as a whole or not at all."""
        return await self._models.load_covariance(request_iterator)

    async def LoadScenarios(
        self, request_iterator: AsyncIterator[model_data_pb2.LoadScenariosRequest], context: Context
    ) -> model_data_pb2.LoadScenariosResponse:
        """Load scenarios, as a whole or not at all."""
        return await self._models.load_scenarios(request_iterator)

    async def RecordTransactions(
        self, request: taxes_pb2.RecordTransactionsRequest, context: Context
    ) -> taxes_pb2.RecordTransactionsResponse:
        """Note transactions that happened outside of the service, all or none."""
        recorded, found = await self._tax_data.record(request)
        return taxes_pb2.RecordTransactionsResponse(
            recorded=recorded,
            wash_sales=map(write_match, found.booked),
            pending_wash_sales=map(write_match, found.pending),
        )

    async def ListTransactions(
        self, request: taxes_pb2.ListTransactionsRequest, context: Context
    ) -> taxes_pb2.ListTransactionsResponse:
        """The transactions of a portfolio, oldest first."""
        faults = Faults()
        faults.identifier("portfolio_id", request.portfolio_id)
        first = read_day("from_date", request.from_date, faults)
        faults.check()
        size, after = page_size(request.page_size), read_transaction_place(request.page_token)
        rows = await self._tax_data.transactions(request.portfolio_id, size + 1, after, first)
        page = cut(rows, size, write_transaction_place)
        return taxes_pb2.ListTransactionsResponse(
            transactions=map(write_transaction, page.rows), next_page_token=page.next_token
        )

    async def SetIdenticalInstruments(
        self, request: taxes_pb2.SetIdenticalInstrumentsRequest, context: Context
    ) -> taxes_pb2.SetIdenticalInstrumentsResponse:
        """Replace the set of instruments that are substantially identical to one."""
        identical = await self._tax_data.set_identical(request)
        return taxes_pb2.SetIdenticalInstrumentsResponse(instrument_id=request.instrument_id, identical_ids=identical)

    async def GetTaxRules(
        self, request: taxes_pb2.GetTaxRulesRequest, context: Context
    ) -> taxes_pb2.GetTaxRulesResponse:
        """The tax rules that hold on a day."""
        faults = Faults()
        name = faults.identifier("jurisdiction", request.jurisdiction, required=False) or _USUAL_RULES
        day = read_day("date", request.date, faults) or utc_now().date()
        faults.check()
        return write_rules(await self._tax_data.rules(name, day))


def _check_id(field: str, value: str) -> None:
    faults = Faults()
    faults.identifier(field, value)
    faults.check()
