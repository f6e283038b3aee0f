"""The baseline's names, numbers and types are all still there."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, MethodDescriptorProto

from protos import generate
from tests.contract.contract_files import compiled

BASELINE_FILE = generate.BASELINE / "portfolio_optimization" / "v1" / "portfolio_optimization_v1_baseline.proto"
SPECIFICATION = generate.PROJECT.parent / "shared" / "spec" / BASELINE_FILE.name

Entry = tuple[str, tuple[object, ...]]


def _field(field: FieldDescriptorProto) -> tuple[object, ...]:
    oneof = field.oneof_index if field.HasField("oneof_index") else None
    return field.number, field.type, field.label, field.type_name, field.json_name, oneof


def _message(message: DescriptorProto) -> Iterator[Entry]:
    for field in message.field:
        yield f"{message.name}.{field.name}", _field(field)
    for nested in message.nested_type:
        for name, value in _message(nested):
            yield f"{message.name}.{name}", value


def _method(method: MethodDescriptorProto) -> tuple[object, ...]:
    return method.input_type, method.output_type, method.client_streaming, method.server_streaming


def _elements(root: Path) -> dict[str, tuple[object, ...]]:
    """All fields and calls of the package under `root`, by name."""
    files = compiled(root)
    fields = [entry for file in files for message in file.message_type for entry in _message(message)]
    calls = [(f"{s.name}.{m.name}", _method(m)) for file in files for s in file.service for m in s.method]
    return dict(fields + calls)


BASELINE_ELEMENTS = _elements(generate.BASELINE)


@pytest.mark.parametrize("name", BASELINE_ELEMENTS)
def test_element_is_unchanged(name: str) -> None:
    assert _elements(generate.PROTOS)[name] == BASELINE_ELEMENTS[name]


def test_the_baseline_is_read() -> None:
    calls = [name for name in BASELINE_ELEMENTS if name.startswith("PortfolioOptimizationService.")]
    assert len(calls) == 5
    assert BASELINE_ELEMENTS["FactorAttribution.percent_contribution"][0] == 3


def test_the_baseline_is_the_specified_one() -> None:
    if not SPECIFICATION.exists():
        pytest.skip("the shared specification is not beside the project")
    assert BASELINE_FILE.read_bytes() == SPECIFICATION.read_bytes()


def test_nothing_breaks_by_the_rules_of_buf() -> None:
    generate.breaking()


@pytest.mark.parametrize(
    ("file", "line", "changed"),
    [
        ("optimization.proto", "double max_turnover = 5;", "double max_turnover = 50;"),
        ("optimization.proto", "string risk_measure = 4;", "string measure = 4;"),
        ("trade.proto", "int32 priority = 6;", "int64 priority = 6;"),
        ("factors.proto", "  double percent_contribution = 3;\n", ""),
    ],
)
def test_a_change_of_the_baseline_is_refused(tmp_path: Path, file: str, line: str, changed: str) -> None:
    protos = tmp_path / "protos"
    shutil.copytree(generate.PROTOS, protos)
    path = protos / "portfolio_optimization" / "v1" / file
    text = path.read_text()
    assert line in text
    path.write_text(text.replace(line, changed, 1))
    with pytest.raises(generate.ContractError, match=r'[Ff]ield "[3-6]"'):
        generate.breaking(protos)
