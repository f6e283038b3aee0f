"""What a solver process finds while it works, sent to the process that waits for it.

A channel is a socket in a directory that only this user can enter; both are gone when it is closed. The worker ends its
side by closing it, also when it is killed.
"""

from __future__ import annotations

import asyncio
import pickle
import shutil
import socket
import struct
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

_LENGTH = struct.Struct("!Q")

Send = Callable[[object], None]


class Channel:
    """The waiting side.

    Attributes:
        address: Where a worker connects.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._found: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def receive(self) -> object:
        """The next that the worker sends; None when it has ended its side."""
        frame = await self._found.get()
        return None if frame is None else pickle.loads(frame)  # noqa: S301 - written by our own process

    async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take what the one worker sends."""
        try:
            while True:
                size = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))[0]
                self._found.put_nowait(await reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError):
            self._found.put_nowait(None)
        finally:
            writer.close()


@asynccontextmanager
async def open_channel() -> AsyncIterator[Channel]:
    """A channel for one worker."""
    directory = Path(tempfile.mkdtemp(prefix="portfolio-"))
    try:
        channel = Channel(str(directory / "found"))
        server = await asyncio.start_unix_server(channel.listen, channel.address)
        async with server:
            yield channel
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def sending(address: str) -> Iterator[Send]:
    """The worker's side."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)

        def send(found: object) -> None:
            frame = pickle.dumps(found)
            connection.sendall(_LENGTH.pack(len(frame)) + frame)

        yield send
