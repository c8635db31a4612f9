"""The console of an attempt, over a real store in a folder: whole, in order, byte for byte."""

import asyncio
import itertools
import random
import threading
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from temporal_runs.console import ConsoleReader, ConsoleWriter, End, Printed, Selection, Stream
from temporal_runs.console.writer import CAP, MANY, NEWEST, SEGMENT
from temporal_runs.store import Store, StoreCorrupt, StoreUnavailable


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"))


NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Writer(ConsoleWriter):
    """One whose pieces are a second apart, from noon on, and whose engine marks them by where they end."""

    printed_at = NOON

    def print(self, text: bytes, stream: Stream = "stdout", **more: Any) -> None:
        mark = str(self.position + len(text))
        self.write(stream, int(self.printed_at.timestamp() * 1000), text, mark, **more)
        self.printed_at += timedelta(seconds=1)


def writer(store: Store, attempt: int = 1, cap: int = CAP) -> Writer:
    return Writer(store, "r1", "execution", attempt, cap=cap)


def reader(store: Store, attempt: int = 1) -> ConsoleReader:
    return ConsoleReader(store, "r1", "execution", attempt)


def whole(reading: ConsoleReader, offset: int = 0) -> bytes:
    text = b""
    while segment := reading.read(offset):
        text += segment.data
        offset = segment.end
    return text


def pieces(reading: ConsoleReader) -> list[tuple[str, bytes]]:
    """Stream and bytes of each."""
    segments = list(reading.backwards())[::-1]
    printed = [piece for segment in segments for piece in segment.printed()]
    return [(piece.stream, piece.data) if isinstance(piece, Printed) else ("gap", b"") for piece in printed]


def test_what_is_written_is_read_byte_for_byte(store: Store):
    text = random.Random(1).randbytes(3 * SEGMENT + 17)
    writing, written = writer(store), 0
    for size in (1, 0, 5000, SEGMENT, 3, SEGMENT + 1, len(text)):
        writing.print(text[written : written + size])
        written += size
    assert writing.close() == len(text)
    assert whole(reader(store)) == text
    assert reader(store).end() == End(len(text), zlib.crc32(text))


@pytest.mark.parametrize("offset", [0, 1, 9, 10, 11, 25, 30])
def test_reading_may_begin_anywhere(store: Store, offset: int):
    writing = writer(store)
    for piece in (b"0123456789", b"abcdefghij", b"ABCDEFGHIJ"):
        writing.print(piece)
        writing.flush()
    assert whole(reader(store), offset) == b"0123456789abcdefghijABCDEFGHIJ"[offset:]


def test_a_new_writer_takes_up_where_the_last_one_left(store: Store):
    first = writer(store)
    first.print(b"stored ")
    first.flush()
    first.print(b"lost with its process")
    second = writer(store)
    assert second.resume() == "7"
    assert second.position == 7
    second.print(b"again")
    second.close()
    assert whole(reader(store)) == b"stored again"


def test_an_empty_console_ends(store: Store):
    assert reader(store).end() is None
    assert writer(store).close() == 0
    assert reader(store).end() == End(0, 0)
    assert whole(reader(store)) == b""


def test_attempts_do_not_mix(store: Store):
    for attempt in (1, 11):
        writing = writer(store, attempt)
        writing.print(b"%d" % attempt)
        writing.close()
    assert (whole(reader(store, 1)), whole(reader(store, 11))) == (b"1", b"11")


def test_a_store_that_is_away_for_a_while_loses_nothing(store: Store, tmp_path: Path):
    writing = writer(store)
    writing.print(b"before ")
    (tmp_path / "store").rename(tmp_path / "away")
    with pytest.raises(StoreUnavailable):
        writing.flush()
    writing.print(b"after")
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
        writing.print(line)
    over.set()
    flushing.join()
    writing.close()
    assert whole(reader(store)) == b"".join(lines)


async def test_following_gives_bytes_as_they_come_and_ends_with_the_end_mark(store: Store):
    writing = writer(store)

    async def write() -> None:
        for number in range(5):
            writing.print(b"%d\n" % number)
            await asyncio.to_thread(writing.flush)
            await asyncio.sleep(0.1)
        await asyncio.to_thread(writing.close)

    task = asyncio.create_task(write())
    async with asyncio.timeout(10):
        found = [segment.data async for segment in reader(store).follow()]
    await task
    assert b"".join(found) == b"0\n1\n2\n3\n4\n"
    assert len(found) > 1


async def test_following_may_begin_inside_a_segment(store: Store):
    writing = writer(store)
    writing.print(b"0123456789")
    writing.close()
    async with asyncio.timeout(10):
        assert [segment.data async for segment in reader(store).follow(4)] == [b"456789"]


async def test_following_ends_when_the_run_is_over_though_its_writer_died(store: Store):
    writing = writer(store)
    writing.print(b"last words")
    writing.flush()

    async def is_over() -> bool:
        return True

    async with asyncio.timeout(10):
        assert [segment.data async for segment in reader(store).follow(is_over=is_over)] == [b"last words"]


def test_streams_and_times_are_told_apart(store: Store):
    writing = writer(store)
    writing.print(b"out")
    writing.print(b"err", "stderr")
    writing.flush()
    writing.print(b"out again", after_loss=True)
    writing.close()
    assert pieces(reader(store)) == [("stdout", b"out"), ("stderr", b"err"), ("gap", b""), ("stdout", b"out again")]
    segment = reader(store).read(1)
    assert segment
    assert [piece.at for piece in segment.printed() if isinstance(piece, Printed)][:2] == [
        NOON,
        NOON + timedelta(seconds=1),
    ]
    end = reader(store).end()
    assert end
    assert end.losses == 1


def test_a_run_that_prints_for_long_has_few_segments_and_in_the_end_one(store: Store):
    writing = writer(store)
    for number in range(5 * MANY):
        writing.print(b"%d\n" % number)
        writing.flush()
        assert len(store.list("console/r1")) <= MANY
    assert whole(reader(store)) == b"".join(b"%d\n" % number for number in range(5 * MANY))
    writing.close()
    assert len(store.list("console/r1")) == 2
    assert len(pieces(reader(store))) == 5 * MANY


def test_who_reads_while_segments_are_joined_misses_nothing(store: Store):
    writing, text = writer(store), b""
    for number in range(3 * MANY):
        writing.print(b"%d\n" % number)
        writing.flush()
        text += b"%d\n" % number
        for offset in (len(text) // 2, max(0, len(text) - NEWEST), len(text)):
            assert whole(reader(store), offset) == text[offset:]


def test_a_joining_that_was_broken_off_is_made_up_for(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # A process dies between two writes: no fault of the store can be made to fall there.
    def away(key: str) -> None:
        raise StoreUnavailable("away")

    writing = writer(store)
    for number in range(10):
        writing.print(b"%d\n" % number)
        writing.flush()
    with monkeypatch.context() as broken:
        broken.setattr(store, "delete", away)
        with pytest.raises(StoreUnavailable):
            writing.close()
    assert whole(reader(store)) == b"0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n"
    assert whole(reader(store), 7) == b"\n4\n5\n6\n7\n8\n9\n"
    taken_up = writer(store)
    assert taken_up.resume() == "20"
    writing.close()
    assert len(store.list("console/r1")) == 2


async def test_of_more_than_the_cap_the_beginning_and_the_end_are_kept(store: Store):
    writing = writer(store, cap=200)
    for number in range(1000):
        writing.print(b"%09d\n" % number)
        writing.flush()
    assert writing.close() == 10_000
    found = [segment async for segment in reader(store).follow()]
    text = b"".join(segment.data for segment in found)
    assert text.startswith(b"000000000\n000000001\n")
    assert text.endswith(b"000000998\n000000999\n")
    assert 200 <= len(text) <= 220
    missing = sum(after.start - before.end for before, after in itertools.pairwise(found))
    assert missing == 10_000 - len(text)


async def test_a_console_that_is_not_what_was_printed_is_not_shown_as_such(store: Store):
    writing = writer(store)
    writing.print(b"one")
    writing.flush()
    writing.print(b"two")
    writing.flush()
    other = writer(store, 2)
    other.print(b"1ne")
    other.flush()
    first = store.list("console/r1/execution/1")[0]
    other_first = store.get(store.list("console/r1/execution/2")[0])
    assert other_first
    store.put(first, other_first)
    with pytest.raises(StoreCorrupt, match="bytes 3 to 6"):
        _ = [segment async for segment in reader(store).follow()]
    store.put(first, other_first[:-1])
    with pytest.raises(StoreCorrupt, match="damaged"):
        reader(store).read(0)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(tail=0), b""),
        (Selection(tail=1), b"7"),
        (Selection(tail=2), b"6\n7"),
        (Selection(tail=5), b"3\n4\n5\n6\n7"),
        (Selection(tail=100), b"1\n2\n3\n4\n5\n6\n7"),
        (Selection(stream="stderr"), b"2\n5\n"),
        (Selection(stream="stderr", tail=1), b"5\n"),
        (Selection(since=NOON), b"1\n2\n3\n4\n5\n6\n7"),
        (Selection(since=NOON + timedelta(seconds=2.5)), b"5\n6\n7"),
        (Selection(since=NOON + timedelta(seconds=2.5), tail=100), b"5\n6\n7"),
        (Selection(since=NOON + timedelta(seconds=2.5), tail=1), b"7"),
        (Selection(since=NOON + timedelta(hours=1)), b""),
    ],
)
def test_a_part_is_selected(store: Store, selection: Selection, expected: bytes):
    writing = writer(store)
    writing.print(b"1\n")
    writing.print(b"2\n", "stderr")
    writing.flush()
    writing.print(b"3\n4\n")
    writing.print(b"5\n", "stderr")
    writing.print(b"6\n7")
    writing.flush()
    begin = selection.begin(reader(store))
    segments = list(reader(store).backwards())[::-1]
    shown = [piece for one in segments if one.end > begin for piece in one.cut(begin, one.end).printed()]
    assert b"".join(piece.data for piece in shown if isinstance(piece, Printed) and selection.shows(piece)) == expected


async def followed(store: Store, offset: int = 0) -> bytes:
    return b"".join([segment.data async for segment in reader(store).follow(offset)])


@pytest.mark.parametrize("offset", [0, 3, SEGMENT])
async def test_a_console_whose_end_is_missing_is_not_taken_for_whole(store: Store, offset: int):
    writing = writer(store)
    writing.print(b"a" * SEGMENT)
    writing.print(b"the end")
    writing.close()
    store.delete(store.list("console/")[1])
    with pytest.raises(StoreCorrupt, match=f"its last 7 bytes .* of {SEGMENT + 7:,}"):
        await followed(store, offset)


async def test_a_console_of_which_nothing_is_left_is_not_taken_for_an_empty_one(store: Store):
    writing = writer(store)
    writing.print(b"all")
    writing.close()
    store.delete(store.list("console/")[0])
    with pytest.raises(StoreCorrupt, match="its last 3 bytes"):
        await followed(store)


async def test_a_console_is_held_against_the_checksum_of_its_end_mark(store: Store):
    writing = writer(store)
    writing.print(b"all")
    writing.close()
    store.put(store.list("console/")[-1], b'{"bytes": 3, "crc32": 1, "losses": 0}')
    with pytest.raises(StoreCorrupt, match="another checksum"):
        await followed(store)
