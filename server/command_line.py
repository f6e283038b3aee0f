"""The command line: ``portfolio-optimization serve | worker | migrate | import | load-policies | demo``."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from server.application import open_database
from server.demo import run_demo
from server.grpc_server import AddressInUseError
from server.imports.commands import add_import_commands, add_policies_command, run_import
from server.logs import configure_logging
from server.serving import serve, work
from server.settings import Settings, describe_settings, load_settings
from storage.embedded import AlreadyRunning, ServerNotStarted
from storage.errors import StorageError

_REFUSALS = (AlreadyRunning, ServerNotStarted, AddressInUseError, StorageError)


def main() -> None:
    """Run a command; the exit code is 0 when it did what it should."""
    arguments = _parser().parse_args()
    settings = load_settings()
    configure_logging(settings)
    try:
        code = asyncio.run(_run(arguments, settings))
    except _REFUSALS as refusal:
        sys.exit(f"portfolio-optimization: {refusal}")
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


async def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    match arguments.command:
        case "serve":
            await serve(settings, with_worker=not arguments.no_worker)
        case "worker":
            await work(settings)
        case "migrate":
            async with open_database(settings, attach=True):
                print("the database is up to date")
        case "import" | "load-policies":
            async with open_database(settings, attach=True) as database:
                return await run_import(database, arguments, sys.stdout, sys.stderr)
        case _:
            return await run_demo(arguments.address or settings.grpc_address, arguments.output)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="portfolio-optimization",
        description="A service that turns a portfolio and an investment goal into weights, frontiers and trades.",
        epilog=f"environment:\n{describe_settings()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    serving = commands.add_parser("serve", help="serve gRPC, and work on the queue")
    serving.add_argument("--no-worker", action="store_true", help="serve calls only; workers run elsewhere")
    commands.add_parser("worker", help="work on the queue of a database that others serve")
    commands.add_parser("migrate", help="bring the database to the schema of this version")
    importing = commands.add_parser("import", help="load data from CSV or Parquet files")
    add_import_commands(importing.add_subparsers(dest="what", required=True, metavar="what"))
    add_policies_command(commands)
    demo = commands.add_parser("demo", help="call a running service and show its answers")
    demo.add_argument("--address", default="", help="address of the service [that of the settings]")
    demo.add_argument("--output", type=Path, default=Path("demo-output"), help="folder of the picture")
    return parser


if __name__ == "__main__":
    main()
