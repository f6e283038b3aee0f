"""The REST paths of the calls."""

import re
from collections import Counter
from collections.abc import Iterator

import pytest
from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from tests.contract.contract_files import methods

HTTP_METHODS = ("get", "put", "post", "delete", "patch")

BASELINE_PATHS = {
    "CreateOptimization": ("post", "/api/v1/optimizations", "*"),
    "GetOptimization": ("get", "/api/v1/optimizations/{optimization_id}", ""),
    "GenerateEfficientFrontier": ("get", "/api/v1/portfolios/{portfolio_id}/efficient-frontier", ""),
    "GenerateRebalancePlan": ("post", "/api/v1/portfolios/{portfolio_id}/rebalance", "*"),
    "Optimize": ("post", "/api/v1/optimize", "optimization"),
    "GetLatestOptimization": ("get", "/api/v1/optimization/{portfolio_id}/latest", ""),
    "BatchCreateOptimizations": ("post", "/api/v1/optimize/batch", "optimizations"),
}


def _rule(method: MethodDescriptor) -> http_pb2.HttpRule:
    return method.GetOptions().Extensions[annotations_pb2.http]


def _bindings(method: MethodDescriptor) -> Iterator[tuple[str, str, str]]:
    rule = _rule(method)
    for binding in (rule, *rule.additional_bindings):
        verb = binding.WhichOneof("pattern")
        if verb is not None:
            yield verb, getattr(binding, verb), binding.body


def _field(message: Descriptor, path: str) -> FieldDescriptor:
    first, _, rest = path.partition(".")
    field = message.fields_by_name[first]
    if not rest:
        return field
    assert field.message_type is not None, f"{path} goes below a plain field"
    return _field(field.message_type, rest)


METHODS = {method.name: method for method in methods()}
BINDINGS = [(method, *binding) for method in METHODS.values() for binding in _bindings(method)]


@pytest.mark.parametrize("name", BASELINE_PATHS)
def test_baseline_path(name: str) -> None:
    assert next(_bindings(METHODS[name])) == BASELINE_PATHS[name]


def test_a_batch_is_a_list_in_and_a_list_out() -> None:
    method = METHODS["BatchCreateOptimizations"]
    assert method.input_type.fields_by_name["optimizations"].is_repeated
    assert method.output_type.fields_by_name[_rule(method).response_body].is_repeated


def test_names_of_calls_are_unique() -> None:
    assert len(METHODS) == len(methods())


def test_every_call_but_uploads_has_a_path() -> None:
    uploads = {name for name, method in METHODS.items() if method.client_streaming}
    assert {name for name, method in METHODS.items() if not list(_bindings(method))} == uploads


@pytest.mark.parametrize("verb", HTTP_METHODS)
def test_no_two_calls_share_a_path(verb: str) -> None:
    shapes = Counter(re.sub(r"\{[^}]*\}", "{}", path) for _, used, path, _ in BINDINGS if used == verb)
    assert [path for path, count in shapes.items() if count > 1] == []


@pytest.mark.parametrize(("method", "verb", "path", "body"), BINDINGS, ids=[f"{b[0].name}-{b[1]}" for b in BINDINGS])
def test_binding_fits_the_request(method: MethodDescriptor, verb: str, path: str, body: str) -> None:
    assert path.startswith("/api/v1/")
    assert bool(body) == (verb in {"post", "put"})
    for variable in re.findall(r"\{([^}]*)\}", path):
        assert _field(method.input_type, variable).type == FieldDescriptor.TYPE_STRING
    if body not in {"", "*"}:
        assert body in method.input_type.fields_by_name
