"""The contract is well-formed, explained everywhere, and its generated code is up to date."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
)

from protos import generate
from tests.contract.contract_files import compiled, messages

# Numbers of the parts of a descriptor, as paths to comments use them (google/protobuf/descriptor.proto).
FILE_MESSAGE, FILE_ENUM, FILE_SERVICE = 4, 5, 6
MESSAGE_FIELD, MESSAGE_NESTED, MESSAGE_ENUM, MESSAGE_ONEOF = 2, 3, 4, 8
ENUM_VALUE = SERVICE_METHOD = 2

Location = tuple[int, ...]
Element = tuple[str, Location]

FILES = compiled(generate.PROTOS)


def _elements(file: FileDescriptorProto) -> Iterator[Element]:
    for place, message in enumerate(file.message_type):
        yield from _message_elements(message, (FILE_MESSAGE, place))
    for place, enum in enumerate(file.enum_type):
        yield from _enum_elements(enum, (FILE_ENUM, place))
    for place, service in enumerate(file.service):
        yield service.name, (FILE_SERVICE, place)
        for number, method in enumerate(service.method):
            yield f"{service.name}.{method.name}", (FILE_SERVICE, place, SERVICE_METHOD, number)


def _message_elements(message: DescriptorProto, path: Location) -> Iterator[Element]:
    if message.options.map_entry:
        return
    yield message.name, path
    for place, field in enumerate(message.field):
        yield f"{message.name}.{field.name}", (*path, MESSAGE_FIELD, place)
    for place, oneof in enumerate(_written_oneofs(message)):
        yield f"{message.name}.{oneof}", (*path, MESSAGE_ONEOF, place)
    for place, nested in enumerate(message.nested_type):
        yield from _message_elements(nested, (*path, MESSAGE_NESTED, place))
    for place, enum in enumerate(message.enum_type):
        yield from _enum_elements(enum, (*path, MESSAGE_ENUM, place))


def _written_oneofs(message: DescriptorProto) -> list[str]:
    """The oneofs of the source; `optional` fields bring one each that comes after them and has no text."""
    implied = {field.oneof_index for field in message.field if field.proto3_optional}
    return [oneof.name for place, oneof in enumerate(message.oneof_decl) if place not in implied]


def _enum_elements(enum: EnumDescriptorProto, path: Location) -> Iterator[Element]:
    yield enum.name, path
    for place, value in enumerate(enum.value):
        yield value.name, (*path, ENUM_VALUE, place)


def _comments(file: FileDescriptorProto) -> dict[Location, str]:
    return {tuple(place.path): _prose(place.leading_comments) for place in file.source_code_info.location}


def _prose(comment: str) -> str:
    lines = [line.strip() for line in comment.splitlines()]
    return " ".join(line for line in lines if line and not line.startswith("buf:"))


def _numbers() -> Iterator[tuple[str, str]]:
    """The name and the comment of every field that is a number with a fraction."""
    for file in FILES:
        comments, paths = _comments(file), dict(_elements(file))
        for message in file.message_type:
            names = [f"{message.name}.{field.name}" for field in message.field if field.type == field.TYPE_DOUBLE]
            yield from ((name, comments[paths[name]]) for name in names)


@pytest.mark.parametrize("file", FILES, ids=lambda file: Path(file.name).name)
def test_every_element_has_a_comment(file: FileDescriptorProto) -> None:
    comments = _comments(file)
    bare = [name for name, path in _elements(file) if not comments.get(path, "").endswith(".")]
    assert bare == []


def test_every_number_states_unit_or_range() -> None:
    units = re.compile(
        r"fraction|annual|percent|seconds|milliseconds|hours|days|basis points|shares|currency|unit|ratio\b|number"
        r"|above 0|0 or more|1 or more|0 to 1|squared|probability|relative|in `unit`",
        re.IGNORECASE,
    )
    assert [name for name, comment in _numbers() if not units.search(comment)] == []


def test_money_is_decimal_text() -> None:
    amounts = [field for message in messages() for field in message.fields if field.name.endswith("_amount")]
    assert amounts
    assert [field.full_name for field in amounts if field.type != field.TYPE_STRING] == []


def test_lengths_suit_a_screen() -> None:
    paths = sorted(generate.PROTOS.rglob("*.proto"))
    lines = {path.name: path.read_text().splitlines() for path in paths}
    assert {name: len(text) for name, text in lines.items() if len(text) > 400} == {}
    assert {name for name, text in lines.items() if any(len(line) > 120 for line in text)} == set()


def test_lint_is_clean() -> None:
    generate.lint()


@pytest.mark.parametrize(
    ("line", "changed", "finding"),
    [
        ("  // The method; required.\n", "", "should have a non-empty comment"),
        ("double covariance_repair_distance = 8;", "double CovarianceRepairDistance = 8;", "lower_snake_case"),
        ("RISK_MODEL_METHOD_UNSPECIFIED", "RISK_MODEL_METHOD_NONE", "should be suffixed"),
        ("  // Instrument concerned; ", "    // Instrument concerned; ", "diff"),
    ],
)
def test_lint_finds_faults(tmp_path: Path, line: str, changed: str, finding: str) -> None:
    protos = tmp_path / "protos"
    shutil.copytree(generate.PROTOS, protos)
    path = protos / "portfolio_optimization" / "v1" / "estimation.proto"
    text = path.read_text()
    assert line in text
    path.write_text(text.replace(line, changed))
    with pytest.raises(generate.ContractError, match=finding):
        generate.lint(protos)


def test_generated_code_is_up_to_date() -> None:
    generate.check()


def test_stale_generated_code_is_named(tmp_path: Path) -> None:
    stale, gone, extra = "trade_pb2.py", "common_pb2.pyi", "former_pb2.py"
    target = tmp_path / "generated"
    generate.write(target)
    directory = target / "portfolio_optimization" / "v1"
    (directory / stale).write_text("")
    (directory / gone).unlink()
    (directory / extra).write_text("")
    with pytest.raises(generate.ContractError) as error:
        generate.check(target)
    assert all(name in str(error.value) for name in (stale, gone, extra))
    generate.write(target)
    generate.check(target)
    assert not (directory / extra).exists()
