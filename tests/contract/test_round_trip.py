"""Every message survives its two encodings with every field set."""

import math

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.json_format import MessageToJson, Parse
from google.protobuf.message_factory import GetMessageClass
from portfolio_optimization.v1.market_data_pb2 import PriceSeries
from portfolio_optimization.v1.optimization_pb2 import CreateOptimizationRequest

from tests.contract.contract_files import messages
from tests.contract.filled_messages import choices, chosen_fields, filled

CASES = [
    pytest.param(message, choice, id=f"{message.name}-{choice}")
    for message in messages()
    for choice in range(choices(message))
]


@pytest.mark.parametrize(("descriptor", "choice"), CASES)
def test_every_field_is_filled(descriptor: Descriptor, choice: int) -> None:
    present = {field.name for field, _ in filled(descriptor, choice).ListFields()}
    assert present == {field.name for field in chosen_fields(descriptor, choice)}


@pytest.mark.parametrize(("descriptor", "choice"), CASES)
def test_binary_round_trip(descriptor: Descriptor, choice: int) -> None:
    message = filled(descriptor, choice)
    again = GetMessageClass(descriptor).FromString(message.SerializeToString(deterministic=True))
    assert again == message


@pytest.mark.parametrize(("descriptor", "choice"), CASES)
def test_json_round_trip(descriptor: Descriptor, choice: int) -> None:
    message = filled(descriptor, choice)
    text = MessageToJson(message, preserving_proto_field_name=True)
    assert Parse(text, GetMessageClass(descriptor)()) == message


def test_a_day_without_a_price_survives_json() -> None:
    series = PriceSeries(instrument_id="AAPL", closes=[232.5, math.nan])
    again = Parse(MessageToJson(series), PriceSeries())
    assert again.closes[0] == 232.5
    assert math.isnan(again.closes[1])


def test_optional_fields_tell_zero_from_absent() -> None:
    absent = CreateOptimizationRequest()
    zero = CreateOptimizationRequest(risk_free_rate=0.0)
    again = CreateOptimizationRequest.FromString(zero.SerializeToString())
    assert not absent.HasField("risk_free_rate")
    assert again.HasField("risk_free_rate")
