"""The console of a real container comes into the store whole, whatever it prints and whoever captures it."""

import asyncio
import json
import random
import threading
import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from temporal_runs.activities.capture import Capture
from temporal_runs.activities.leases import Holding
from temporal_runs.console import ConsoleReader, ConsoleWriter, Gap, Printed
from temporal_runs.engine import Engine
from temporal_runs.store import Store
from tests.conftest import eventually
from tests.integration.conftest import Started

GIB = 2**30


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"))


def reader(store: Store, holding: Holding) -> ConsoleReader:
    return ConsoleReader(store, holding.request.attempt.run_id, "execution", 1)


async def printed(store: Store, holding: Holding) -> list[Printed | Gap]:
    return [piece async for segment in reader(store, holding).follow() for piece in segment.printed()]


async def whole(store: Store, holding: Holding) -> bytes:
    return b"".join([segment.data async for segment in reader(store, holding).follow()])


async def captured(capture: Capture, engine: Engine, holding: Holding) -> int:
    async with capture:
        await asyncio.to_thread(engine.wait, holding.container)
        return await capture.finish()


async def test_bytes_that_are_no_text_and_lines_of_megabytes(
    engine: Engine, store: Store, started: Started, tmp_path: Path
):
    line = random.Random(1).randbytes(3 * 2**20).replace(b"\n", b"\r")
    (tmp_path / "line").write_bytes(line)
    holding = started("cat line; echo; cat line >&2; printf '10 %%\\r20 %%\\r'")
    assert await captured(Capture(engine, store, holding, [], GIB), engine, holding) == 2 * len(line) + 11
    pieces = [piece for piece in await printed(store, holding) if isinstance(piece, Printed)]
    assert b"".join(piece.data for piece in pieces if piece.stream == "stdout") == line + b"\n10 %\r20 %\r"
    assert b"".join(piece.data for piece in pieces if piece.stream == "stderr") == line


async def test_captures_that_break_off_neither_lose_nor_double(
    engine: Engine, store: Store, started: Started, tmp_path: Path
):
    holding = started("for i in 1 2 3 4 5; do seq 20000; seq 3 >&2; while [ ! -e $i ]; do sleep 0.05; done; done")
    known = 0
    for number in range(1, 6):
        with pytest.raises(ZeroDivisionError):
            async with Capture(engine, store, holding, [], GIB):
                segment = await eventually(partial(reader(store, holding).read, known))
                known = segment.end
                raise ZeroDivisionError
        (tmp_path / str(number)).touch()
    await captured(Capture(engine, store, holding, [], GIB), engine, holding)
    pieces = [piece for piece in await printed(store, holding) if isinstance(piece, Printed)]
    lines = b"".join(b"%d\n" % n for n in range(1, 20001))
    assert b"".join(piece.data for piece in pieces if piece.stream == "stderr") == b"1\n2\n3\n" * 5
    assert b"".join(piece.data for piece in pieces if piece.stream == "stdout") == lines * 5


async def test_a_store_that_goes_away_meanwhile_loses_nothing_and_costs_no_memory(
    engine: Engine, store: Store, started: Started, tmp_path: Path
):
    wait = "while [ ! -e {} ]; do sleep 0.1; done"
    holding = started(f"{wait.format('go')}; seq 1000000; touch printed; {wait.format('on')}; echo on")
    capture = Capture(engine, store, holding, [], GIB)
    async with capture:
        (tmp_path / "store").rename(tmp_path / "away")
        tracemalloc.start()
        (tmp_path / "go").touch()
        await eventually((tmp_path / "printed").exists)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 40 * 2**20
        (tmp_path / "away").rename(tmp_path / "store")
        (tmp_path / "on").touch()
        await asyncio.to_thread(engine.wait, holding.container)
        await capture.finish()
    text = await whole(store, holding)
    assert text.endswith(b"999999\n1000000\non\n")
    assert len(text) == sum(len(b"%d\n" % n) for n in range(1, 1000001)) + 3
    assert capture.last_lines.endswith("1000000\non")


async def test_what_is_brought_in_at_the_end_is_not_taken_up_by_another_meanwhile(
    engine: Engine, store: Store, started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stores, ends = threading.Event(), threading.Event()
    flush, write = ConsoleWriter.flush, ConsoleWriter.write

    def waiting_flush(writer: ConsoleWriter) -> None:
        stores.set()
        ends.wait(60)
        flush(writer)

    def write_while_flushed(writer: ConsoleWriter, *piece: Any, **more: Any) -> None:
        write(writer, *piece, **more)
        if stores.is_set():
            ends.set()

    # In no other way does a moment of a few milliseconds come for sure.
    monkeypatch.setattr(ConsoleWriter, "flush", waiting_flush)
    monkeypatch.setattr(ConsoleWriter, "write", write_while_flushed)
    holding = started("seq 1000000")
    await asyncio.to_thread(engine.wait, holding.container)
    (tmp_path / "store").rename(tmp_path / "away")
    capture = Capture(engine, store, holding, [], GIB)
    async with capture:
        await asyncio.to_thread(stores.wait)
        (tmp_path / "away").rename(tmp_path / "store")
        size = await capture.finish()
        ends.set()
    assert size == sum(len(b"%d\n" % n) for n in range(1, 1000001))
    assert len(await whole(store, holding)) == size


async def test_a_million_lines_are_all_there_and_a_cap_keeps_both_ends(engine: Engine, store: Store, started: Started):
    whole_one, capped = started("seq 1000000"), started("seq 1000000")
    size = sum(len(b"%d\n" % n) for n in range(1, 1000001))
    assert await captured(Capture(engine, store, whole_one, [], GIB), engine, whole_one) == size
    assert await whole(store, whole_one) == b"".join(b"%d\n" % n for n in range(1, 1000001))
    assert await captured(Capture(engine, store, capped, [], 2**16), engine, capped) == size
    text = await whole(store, capped)
    assert text.startswith(b"1\n2\n3\n")
    assert text.endswith(b"999999\n1000000\n")
    assert json.loads(store.get(f"console/{capped.request.attempt.run_id}/execution/1/end") or b"")["bytes"] == size


async def test_last_lines_show_nothing_of_a_secret_not_even_its_end(engine: Engine, store: Store, started: Started):
    secret = "begin-" + "x" * 300 + "-end"
    holding = started(f"for i in $(seq 40); do printf {secret}; done; echo; echo done")
    capture = Capture(engine, store, holding, [secret], GIB)
    await captured(capture, engine, holding)
    assert "x" not in capture.last_lines
    assert "-end" not in capture.last_lines
    assert capture.last_lines.endswith("done")
    await eventually(lambda: reader(store, holding).end())
