"""What the tests of the contract look at: the generated modules and the compiled sources with their comments."""

import importlib
import pkgutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import cast

import portfolio_optimization.v1 as generated
from google.protobuf.descriptor import Descriptor, FileDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from protos import generate

PACKAGE = "portfolio_optimization.v1"


def generated_files() -> list[FileDescriptor]:
    """The descriptors of all generated modules."""
    names = [module.name for module in pkgutil.iter_modules(generated.__path__) if module.name.endswith("_pb2")]
    return [cast("FileDescriptor", importlib.import_module(f"{PACKAGE}.{name}").DESCRIPTOR) for name in names]


def messages() -> list[Descriptor]:
    """All messages of the contract, nested ones included; map entries are part of their field."""
    tops = [message for file in generated_files() for message in file.message_types_by_name.values()]
    return [message for top in tops for message in _with_nested(top) if not message.GetOptions().map_entry]


def methods() -> list[MethodDescriptor]:
    """All calls of all services."""
    services = [service for file in generated_files() for service in file.services_by_name.values()]
    return [method for service in services for method in service.methods]


@cache
def compiled(root: Path) -> list[FileDescriptorProto]:
    """The protos under `root`, compiled with comments, without their imports."""
    with tempfile.TemporaryDirectory() as scratch:
        image = generate.build_image(root, Path(scratch) / "image.binpb")
        files = FileDescriptorSet.FromString(image.read_bytes()).file
    return [file for file in files if file.package == PACKAGE]


def _with_nested(message: Descriptor) -> Iterator[Descriptor]:
    yield message
    for nested in message.nested_types:
        yield from _with_nested(nested)
