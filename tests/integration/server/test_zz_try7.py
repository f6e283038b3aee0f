import sys
from google.protobuf import json_format
from tests.integration.server.open_service import open_service, copied_database
from portfolio_optimization.v1 import factors_pb2 as pb, factor_models_pb2 as fm
import pytest, time

@pytest.fixture(scope="module")
def service(postgres_server, template_database):
    with copied_database(postgres_server, template_database) as url, open_service(url) as service:
        yield service

def show(a):
    for e in a.exposures:
        print(f"  {e.factor:22s} {e.exposure:8.3f} b {e.benchmark_exposure:8.3f} a {e.active_exposure:8.3f} se {e.standard_error:.3f} {e.benchmark_standard_error:.3f} {e.active_standard_error:.3f} vif {e.variance_inflation:.1f}")
    print("  R2 %.4f obs %d %s..%s total %.4f cond %.2f specvol %.4f basis %s se %s lags %d rec %.1e" % (a.r_squared,a.observations,a.first_date,a.last_date,a.total_return,a.condition_number,a.specific_volatility,a.benchmark_basis,a.standard_errors,a.lags,a.reconciliation))
    print("  mean", {p.factor: (round(p.contribution,4), round(p.percent_contribution,1)) for p in a.attribution})
    print("  risk %.4f = %.4f + %.4f" % (a.risk.volatility,a.risk.factor_contribution,a.risk.specific_contribution), {p.factor: round(p.percent,1) for p in a.risk.factors})
    print("  active risk %.4f = %.4f + %.4f" % (a.active_risk.volatility,a.active_risk.factor_contribution,a.active_risk.specific_contribution), {p.factor: round(p.percent,1) for p in a.active_risk.factors})
    r=a.return_attribution
    print("  linked %.4f %.4f %.4f res %.1e" % (r.portfolio_return,r.benchmark_return,r.active_return,r.residual))
    for p in r.parts: print("     %-20s %8.4f %8.4f %8.4f  x %.3f" % (p.source,p.portfolio,p.benchmark,p.active,p.average_exposure))
    s=a.sector_attribution
    print("  sectors alloc %.4f sel %.4f int %.4f act %.4f res %.1e" % (s.allocation,s.selection,s.interaction,s.active_return,s.residual))
    for p in s.sectors: print("     %-24s %7.4f %7.4f  %s %s  %8.4f %8.4f %8.4f" % (p.sector,p.portfolio_weight,p.benchmark_weight,round(p.portfolio_return,4) if p.HasField('portfolio_return') else None,round(p.benchmark_return,4) if p.HasField('benchmark_return') else None,p.allocation,p.selection,p.interaction))
    for f in a.data_findings: print("  !", f.code, f.message)

def ask(service, **kw):
    t=time.time()
    try:
        a = service.call("AnalyzeFactorExposures", pb.FactorExposureRequest(**{"portfolio_id":"sample-growth", **kw}))
    except Exception as e:
        print("-----", kw, "REFUSED", e.code(), e.details()); return
    print("-----", kw, round(time.time()-t,2)); show(a); return a

def test_try(service):
    a = ask(service); ask(service, lookback_days=252, holdings_basis=2)
    for f in ("data_findings",): pass
    del a.instruments[:]
    print(json_format.MessageToJson(a, preserving_proto_field_name=True, indent=None)[:6000])
