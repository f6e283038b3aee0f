"""Messages in which every field holds a value of its own."""

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: -(2**31) + 1,
    FieldDescriptor.CPPTYPE_INT64: -(2**63) + 1,
    FieldDescriptor.CPPTYPE_UINT32: 2**32 - 1,
    FieldDescriptor.CPPTYPE_UINT64: 2**64 - 1,
}


def choices(descriptor: Descriptor) -> int:
    """How many messages it takes until every member of every oneof was chosen once."""
    return max([1, *(len(oneof.fields) for oneof in descriptor.oneofs)])


def filled(descriptor: Descriptor, choice: int = 0) -> Message:
    """The message with all fields set; of every oneof the member number `choice`, counted round."""
    message = GetMessageClass(descriptor)()
    if isinstance(message, Timestamp):
        message.FromNanoseconds(1_672_217_999_123_456_789)
    elif descriptor.full_name == "google.protobuf.Any":
        message.Pack(filled(Timestamp.DESCRIPTOR))  # type: ignore[attr-defined]
    else:
        for field in chosen_fields(descriptor, choice):
            _fill(message, field)
    return message


def chosen_fields(descriptor: Descriptor, choice: int) -> list[FieldDescriptor]:
    """The fields that `filled` sets."""
    passed_over = {
        field.name
        for oneof in descriptor.oneofs
        for place, field in enumerate(oneof.fields)
        if place != choice % len(oneof.fields)
    }
    return [field for field in descriptor.fields if field.name not in passed_over]


def _fill(message: Message, field: FieldDescriptor) -> None:
    value = _value(field)
    if _is_map(field):
        _fill_map(message, field)
    elif field.is_repeated and field.message_type is None:
        getattr(message, field.name).extend([value, value])
    elif field.is_repeated:
        getattr(message, field.name).add().CopyFrom(value)
    elif field.message_type is not None:
        getattr(message, field.name).CopyFrom(value)
    else:
        setattr(message, field.name, value)


def _fill_map(message: Message, field: FieldDescriptor) -> None:
    assert field.message_type is not None
    value_field = field.message_type.fields_by_name["value"]
    entries = getattr(message, field.name)
    if value_field.message_type is None:
        entries["BRK/B"] = _value(value_field)
    else:
        entries["BRK/B"].CopyFrom(_value(value_field))


def _value(field: FieldDescriptor) -> Any:
    if field.message_type is not None:
        return None if _is_map(field) else filled(field.message_type)
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    if field.cpp_type in _INTEGERS:
        return _INTEGERS[field.cpp_type]
    plain = {FieldDescriptor.CPPTYPE_BOOL: True, FieldDescriptor.CPPTYPE_DOUBLE: 0.1 + field.number}
    return plain.get(field.cpp_type, f'{field.name} "µ"')


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)
