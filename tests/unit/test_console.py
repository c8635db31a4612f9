"""The console of an attempt, over a real store in a folder: whole, in order, byte for byte."""

import asyncio
import random
import threading
from pathlib import Path

import pytest

from temporal_runs.console import SEGMENT, ConsoleReader, ConsoleWriter
from temporal_runs.store import Store, StoreUnavailable


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"))


def writer(store: Store, attempt: int = 1) -> ConsoleWriter:
    return ConsoleWriter(store, "r1", "execution", attempt)


def reader(store: Store, attempt: int = 1) -> ConsoleReader:
    return ConsoleReader(store, "r1", "execution", attempt)


def whole(reading: ConsoleReader, offset: int = 0) -> bytes:
    text = b""
    while piece := reading.read(offset + len(text)):
        text += piece
    return text


def test_what_is_written_is_read_byte_for_byte(store: Store):
    text = random.Random(1).randbytes(3 * SEGMENT + 17)
    writing, written = writer(store), 0
    for size in (1, 0, 5000, SEGMENT, 3, SEGMENT + 1, len(text)):
        writing.write(text[written : written + size])
        written += size
    assert writing.close() == len(text)
    assert whole(reader(store)) == text
    assert reader(store).end() == len(text)


@pytest.mark.parametrize("offset", [0, 1, 9, 10, 11, 25, 30])
def test_reading_may_begin_anywhere(store: Store, offset: int):
    writing = writer(store)
    for piece in (b"0123456789", b"abcdefghij", b"ABCDEFGHIJ"):
        writing.write(piece)
        writing.flush()
    assert whole(reader(store), offset) == b"0123456789abcdefghijABCDEFGHIJ"[offset:]


def test_a_new_writer_takes_up_where_the_last_one_left(store: Store):
    first = writer(store)
    first.write(b"stored ")
    first.flush()
    first.write(b"lost with its process")
    second = writer(store)
    assert second.resume() == 7
    second.write(b"again")
    second.close()
    assert whole(reader(store)) == b"stored again"


def test_the_same_bytes_at_the_same_place_change_nothing(store: Store):
    writing = writer(store)
    writing.write(b"hello ", offset=0)
    writing.flush()
    writing.write(b"hello world", offset=0)
    writing.write(b"world", offset=6)
    writing.write(b"!", offset=11)
    assert writing.position == 12
    writing.close()
    assert whole(reader(store)) == b"hello world!"


def test_a_gap_is_refused(store: Store):
    with pytest.raises(ValueError, match="gap"):
        writer(store).write(b"x", offset=1)


def test_an_empty_console_ends(store: Store):
    assert reader(store).end() is None
    assert writer(store).close() == 0
    assert reader(store).end() == 0
    assert whole(reader(store)) == b""


def test_attempts_do_not_mix(store: Store):
    for attempt in (1, 11):
        writing = writer(store, attempt)
        writing.write(b"%d" % attempt)
        writing.close()
    assert (whole(reader(store, 1)), whole(reader(store, 11))) == (b"1", b"11")


def test_a_store_that_is_away_for_a_while_loses_nothing(store: Store, tmp_path: Path):
    writing = writer(store)
    writing.write(b"before ")
    (tmp_path / "store").rename(tmp_path / "away")
    with pytest.raises(StoreUnavailable):
        writing.flush()
    writing.write(b"after")
    (tmp_path / "away").rename(tmp_path / "store")
    writing.close()
    assert whole(reader(store)) == b"before after"


def test_threads_may_write_and_flush_at_once(store: Store):
    writing = writer(store)
    over = threading.Event()

    def flush() -> None:
        while not over.is_set():
            writing.flush()

    flushing = threading.Thread(target=flush)
    flushing.start()
    lines = [b"line %d\n" % number for number in range(2000)]
    for line in lines:
        writing.write(line)
    over.set()
    flushing.join()
    writing.close()
    assert whole(reader(store)) == b"".join(lines)


async def test_following_gives_bytes_as_they_come_and_ends_with_the_end_mark(store: Store):
    writing = writer(store)

    async def write() -> None:
        for number in range(5):
            writing.write(b"%d\n" % number)
            await asyncio.to_thread(writing.flush)
            await asyncio.sleep(0.1)
        await asyncio.to_thread(writing.close)

    pieces, task = [], asyncio.create_task(write())
    async with asyncio.timeout(10):
        async for piece in reader(store).follow():
            pieces.append(piece)
    await task
    assert b"".join(pieces) == b"0\n1\n2\n3\n4\n"
    assert len(pieces) > 1


async def test_following_may_begin_inside_a_segment(store: Store):
    writing = writer(store)
    writing.write(b"0123456789")
    writing.close()
    async with asyncio.timeout(10):
        assert [piece async for piece in reader(store).follow(4)] == [b"456789"]


async def test_following_ends_when_the_run_is_over_though_its_writer_died(store: Store):
    writing = writer(store)
    writing.write(b"last words")
    writing.flush()

    async def is_over() -> bool:
        return True

    async with asyncio.timeout(10):
        assert [piece async for piece in reader(store).follow(is_over=is_over)] == [b"last words"]
