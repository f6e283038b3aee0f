"""What the tests of the embedded server do to it from outside."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

PROJECT = Path(__file__).parents[3]
HOLDER = Path(__file__).with_name("embedded_holder.py")
PATIENCE_SECONDS = 30.0


def await_that(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def postmaster(directory: Path) -> int:
    return int((directory / "cluster" / "postmaster.pid").read_text().split("\n")[0])


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def write(url: str, number: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS numbers (number INTEGER PRIMARY KEY)")
        connection.execute("INSERT INTO numbers VALUES (%s)", [number])


def written(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT number FROM numbers ORDER BY number")]


def answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def holder(
    directory: Path, mode: str = "own", command: tuple[str, ...] = (sys.executable,), **options: object
) -> Iterator[tuple[subprocess.Popen[str], dict]]:
    """Another process that holds the server, and what it said."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{PROJECT}:{Path(psycopg.__file__).parents[1]}",
        "HOME": str(directory.parent),
    }
    process = subprocess.Popen(
        [*command, str(HOLDER), str(directory), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd="/",
        **options,
    )
    with process:
        yield process, json.loads(process.stdout.readline())
