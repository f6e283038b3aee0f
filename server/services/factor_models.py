"""FactorModelService."""

from __future__ import annotations

from portfolio_optimization.v1 import factor_model_service_pb2 as pb
from portfolio_optimization.v1.factor_model_service_pb2_grpc import FactorModelServiceServicer

from server.convert.factor_model_answers import write_model
from server.convert.factors import read_stored
from server.convert.faults import Faults
from server.services.calls import Context, page_size, read_cursor, time_left, write_cursor
from server.services.pages import cut
from server.workflows.factor_analyses import FactorAnalysisFinder
from server.workflows.factor_models import FactorModelWorkflow


class FactorModelService(FactorModelServiceServicer):
    """Factor models, their portfolios, and the analyses that were made with them."""

    def __init__(self, models: FactorModelWorkflow, analyses: FactorAnalysisFinder) -> None:
        self._models, self._analyses = models, analyses

    async def CreateFactorModel(
        self, request: pb.CreateFactorModelRequest, context: Context
    ) -> pb.CreateFactorModelResponse:
        """Estimate a factor model and store it."""
        return await self._models.create(request, time_left(context, self._models.longest_seconds))

    async def GetFactorModel(self, request: pb.GetFactorModelRequest, context: Context) -> pb.GetFactorModelResponse:
        """One factor model."""
        return pb.GetFactorModelResponse(factor_model=await self._models.find(request))

    async def ListFactorModels(
        self, request: pb.ListFactorModelsRequest, context: Context
    ) -> pb.ListFactorModelsResponse:
        """Factor models, newest first."""
        _check_id("name", request.name, required=False)
        size, before = page_size(request.page_size), read_cursor(request.page_token)
        rows = await self._models.newest(size + 1, before, request.name)
        page = cut(rows, size, lambda row: write_cursor(row.created_at, row.id))
        return pb.ListFactorModelsResponse(factor_models=map(write_model, page.rows), next_page_token=page.next_token)

    async def GetFactorPortfolios(
        self, request: pb.GetFactorPortfoliosRequest, context: Context
    ) -> pb.GetFactorPortfoliosResponse:
        """The portfolios that have exposure to one factor alone."""
        return await self._models.portfolios(request, time_left(context, self._models.longest_seconds))

    async def GetFactorAnalysis(
        self, request: pb.GetFactorAnalysisRequest, context: Context
    ) -> pb.GetFactorAnalysisResponse:
        """One factor analysis."""
        _check_id("analysis_id", request.analysis_id)
        return pb.GetFactorAnalysisResponse(analysis=read_stored(await self._analyses.find(request.analysis_id)))

    async def GetLatestFactorAnalysis(
        self, request: pb.GetLatestFactorAnalysisRequest, context: Context
    ) -> pb.GetLatestFactorAnalysisResponse:
        """The latest factor analysis of a portfolio."""
        _check_id("portfolio_id", request.portfolio_id)
        stored = await self._analyses.latest(request.portfolio_id)
        return pb.GetLatestFactorAnalysisResponse(analysis=read_stored(stored))

    async def ListFactorAnalyses(
        self, request: pb.ListFactorAnalysesRequest, context: Context
    ) -> pb.ListFactorAnalysesResponse:
        """The factor analyses of a portfolio, newest first."""
        _check_id("portfolio_id", request.portfolio_id)
        size, before = page_size(request.page_size), read_cursor(request.page_token)
        rows = await self._analyses.page(request.portfolio_id, size + 1, before)
        page = cut(rows, size, lambda row: write_cursor(row.request.created_at, row.request.id))
        return pb.ListFactorAnalysesResponse(
            analyses=[read_stored(row, instruments=False) for row in page.rows], next_page_token=page.next_token
        )


def _check_id(field: str, value: str, *, required: bool = True) -> None:
    faults = Faults()
    faults.identifier(field, value, required=required)
    faults.check()
