"""Generates the Python code of the contract and checks the contract itself, all without network.

    python protos/generate.py              writes generated/
    python protos/generate.py --check      fails when generated/ is out of date
    python protos/generate.py --lint       style of the contract, by buf
    python protos/generate.py --breaking   compatibility with the baseline, by buf

buf resolves imports from its registry only, so it is given a descriptor image that protoc built from the installed
googleapis-common-protos instead of the sources.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PROTOS = Path(__file__).resolve().parent
PROJECT = PROTOS.parent
GENERATED = PROJECT / "generated"
BASELINE = PROJECT / "tests" / "contract" / "baseline"
SCRIPTS = Path(sysconfig.get_path("scripts"))

INIT_FILES: Mapping[str, bytes] = {
    "portfolio_optimization/__init__.py": b'"""The generated code of the contract; written by protos/generate.py."""\n',
    "portfolio_optimization/v1/__init__.py": b'"""Version 1 of the contract; written by protos/generate.py."""\n',
    "portfolio_optimization/py.typed": b"",
}


class ContractError(Exception):
    """A tool refused the contract, or the generated code is out of date."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one action and returns the exit code: 0 when all is well, 1 with the reasons on standard error."""
    try:
        _action(arguments)()
    except ContractError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def write(target: Path = GENERATED) -> None:
    """Makes `target` hold exactly the generated code; files of protos that are gone are removed."""
    fresh = generate()
    for name in read_tree(target).keys() - fresh.keys():
        (target / name).unlink()
    for name, content in fresh.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def check(target: Path = GENERATED) -> None:
    """Compares `target` with freshly generated code.

    Raises:
        ContractError: a file differs, is missing or belongs to no proto; all of them are named.
    """
    fresh, present = generate(), read_tree(target)
    stale = sorted(name for name in fresh.keys() | present.keys() if fresh.get(name) != present.get(name))
    if stale:
        names = "\n  ".join(stale)
        raise ContractError(f"generated code is out of date, run `python protos/generate.py`:\n  {names}")


def lint(protos: Path = PROTOS) -> None:
    """Checks style, comments and formatting of all protos under `protos`.

    Raises:
        ContractError: with the findings of buf.
    """
    with tempfile.TemporaryDirectory() as scratch:
        image = build_image(protos, Path(scratch) / "contract.binpb")
        _buf("lint", str(image), "--path", "portfolio_optimization")
    _buf("format", str(protos), "--diff", "--exit-code")


def breaking(protos: Path = PROTOS, baseline: Path = BASELINE) -> None:
    """Checks that a client of `baseline` still understands the protos under `protos`, in binary and in JSON.

    Raises:
        ContractError: with the findings of buf.
    """
    with tempfile.TemporaryDirectory() as scratch:
        image = build_image(protos, Path(scratch) / "contract.binpb")
        against = build_image(baseline, Path(scratch) / "baseline.binpb")
        _buf("breaking", str(image), "--against", str(against))


def generate() -> dict[str, bytes]:
    """Returns the content of every generated file by its path below the import root."""
    names = proto_names(PROTOS)
    services = [name for name in names if name.endswith("_service.proto")]
    with tempfile.TemporaryDirectory() as scratch:
        _protoc(PROTOS, f"--python_out={scratch}", f"--mypy_out=quiet:{scratch}", *names)
        # Concrete stubs: a servicer may leave out calls, which then answer UNIMPLEMENTED.
        grpc_stubs = f"--mypy_grpc_out=quiet,generate_concrete_servicer_stubs:{scratch}"
        _protoc(PROTOS, f"--grpc_python_out={scratch}", grpc_stubs, *services)
        return read_tree(Path(scratch)) | dict(INIT_FILES)


def build_image(root: Path, image: Path) -> Path:
    """Compiles all protos under `root` with their imports and comments into the descriptor set `image`."""
    _protoc(root, "--include_imports", "--include_source_info", f"--descriptor_set_out={image}", *proto_names(root))
    return image


def proto_names(root: Path) -> list[str]:
    """Returns the protos under `root` as protoc names them, sorted."""
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.proto"))


def read_tree(root: Path) -> dict[str, bytes]:
    """Returns the content of every file under `root` by relative path, without byte code."""
    files = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def _protoc(root: Path, *arguments: str) -> None:
    includes = [f"--proto_path={path}" for path in (root, *_import_roots())]
    _run([sys.executable, "-m", "grpc_tools.protoc", *includes, *arguments])


def _buf(command: str, *arguments: str) -> None:
    _run([str(SCRIPTS / "buf"), command, *arguments, "--config", str(PROTOS / "buf.yaml")])


def _run(command: Sequence[str]) -> None:
    # protoc finds its plugins, and the plugins their interpreter, on the path.
    environment = os.environ | {"PATH": f"{SCRIPTS}{os.pathsep}{os.environ.get('PATH', '')}"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)  # noqa: S603 own tools
    if done.returncode != 0:
        raise ContractError((done.stdout + done.stderr).strip())


def _import_roots() -> tuple[Path, Path]:
    """Returns the directories that hold google/api, google/rpc and google/protobuf."""
    return _package_directory("google.api.http_pb2").parents[1], _package_directory("grpc_tools") / "_proto"


def _package_directory(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ContractError(f"{module} is not installed; install the extra `dev`")
    return Path(spec.origin).parent


def _action(arguments: Sequence[str] | None) -> Callable[[], None]:
    parser = argparse.ArgumentParser(description="Generate the Python code of the contract, or check the contract.")
    actions = parser.add_mutually_exclusive_group()
    choices: tuple[tuple[Callable[[], None], str], ...] = (
        (check, "fail when the generated code is out of date"),
        (lint, "check the style of the contract"),
        (breaking, "check compatibility with the baseline"),
    )
    for action, text in choices:
        actions.add_argument(f"--{action.__name__}", dest="action", action="store_const", const=action, help=text)
    parser.set_defaults(action=write)
    chosen: Callable[[], None] = parser.parse_args(arguments).action
    return chosen


if __name__ == "__main__":
    sys.exit(main())
