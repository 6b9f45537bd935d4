"""A TCP link to Postgres that can be cut and hung. A process of its own, so that its bytes do not wait for ours.

python -m tests.torture.link SOCKET      prints its port; obeys `cut`, `hang`, `deafen`, `heal`; ends with its input
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Self


class Link:
    """The other side of the process: what the torture holds."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process, self.port = process, port

    @classmethod
    async def open(cls, socket: str) -> Self:
        """Start it."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.torture.link", socket,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        return cls(process, int(await process.stdout.readline()))

    async def say(self, word: str) -> None:
        """cut: connections break and none is taken. hang: nothing flows, nothing breaks. deafen: Postgres hears, and is
        not heard. heal: as before."""
        assert self.process.stdin is not None
        self.process.stdin.write(word.encode() + b"\n")
        await self.process.stdin.drain()

    async def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.process.wait()


class _Relay:
    def __init__(self, socket: str) -> None:
        self.socket = socket
        self.there, self.back = asyncio.Event(), asyncio.Event()
        self.there.set()
        self.back.set()
        self.open = True
        self.writers: set[asyncio.StreamWriter] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.there.wait()
        if not self.open:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_unix_connection(self.socket)
        except OSError:
            writer.transport.abort()
            return
        self.writers |= {writer, back}
        async with asyncio.TaskGroup() as group:
            group.create_task(self.pump(reader, back, self.there))
            group.create_task(self.pump(there, writer, self.back))
        self.writers -= {writer, back}

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event) -> None:
        try:
            while data := await reader.read(1 << 16):
                await flowing.wait()
                writer.write(data)
                await writer.drain()
            writer.close()
        except OSError:
            writer.transport.abort()

    def obey(self, word: str) -> None:
        self.open = word != "cut"
        if word == "cut":
            for writer in self.writers:
                writer.transport.abort()
        for flowing, held in ((self.there, word == "hang"), (self.back, word in ("hang", "deafen"))):
            (flowing.clear if held else flowing.set)()


async def _serve(socket: str) -> None:
    relay = _Relay(socket)
    server = await asyncio.start_server(relay.accept, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        relay.obey(line.decode().strip())
    os._exit(0)  # every connection breaks; nobody is to be waited for


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
