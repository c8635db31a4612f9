"""Passes connections on: `python -m tests.forwarder HOST:PORT HOST:PORT` takes them at the first, for the second."""

import asyncio
import sys
from contextlib import suppress


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


def parsed(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


async def serve(here: str, there: str) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_there, to_there = await asyncio.open_connection(*parsed(there))
        except OSError:
            writer.close()
            return
        await asyncio.gather(pass_on(reader, to_there), pass_on(from_there, writer))

    server = await asyncio.start_server(connected, *parsed(here))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2]))
