"""The console of a container, byte by byte."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from temporal_runs.engine import Engine, Piece

Started = Callable[..., str]


def test_bytes_come_as_they_were_printed(engine: Engine, started: Started, tmp_path: Path) -> None:
    printed = bytes(range(256)) * 300 + b"\xff\xfe no newline at the end\x00"
    (tmp_path / "bytes").write_bytes(printed)
    tmp_path.chmod(0o755)
    name = started("cat", "/mnt/bytes", mounts={str(tmp_path): "/mnt"})
    assert b"".join(engine.console(name, follow=True).bytes()) == printed
    assert b"".join(engine.console(name, follow=False).bytes()) == printed


def test_five_megabytes_of_lines_of_an_ended_container_are_all_there(engine: Engine, started: Started) -> None:
    name = started("sh", "-c", "yes 0123456789abcdef0123456789abcdef | head -n 160000")
    engine.wait(name)
    expected = b"0123456789abcdef0123456789abcdef\n" * 160000
    assert b"".join(engine.console(name, follow=False).bytes()) == expected
    assert b"".join(engine.console(name, follow=True).bytes()) == expected


def test_one_line_of_five_megabytes_is_one_line(engine: Engine, started: Started) -> None:
    name = started("sh", "-c", "head -c 5000000 /dev/zero")
    assert b"".join(engine.console(name, follow=True).bytes()) == bytes(5_000_000)


def test_the_newline_of_a_very_long_line_is_not_lost(engine: Engine, started: Started) -> None:
    name = started("sh", "-c", "for i in 32767 32768 40000; do head -c $i /dev/zero; echo; done; echo end")
    expected = b"".join(bytes(size) + b"\n" for size in (32767, 32768, 40000)) + b"end\n"
    assert b"".join(engine.console(name, follow=True).bytes()) == expected


def test_stderr_stands_where_it_was_printed(engine: Engine, started: Started) -> None:
    name = started("sh", "-c", "for i in 1 2 3; do echo out $i; sleep 0.05; echo err $i >&2; sleep 0.05; done")
    assert b"".join(engine.console(name, follow=True).bytes()).split(b"\n") == [
        *(f"{stream} {i}".encode() for i in (1, 2, 3) for stream in ("out", "err")),
        b"",
    ]


def test_closing_wakes_a_reader_in_another_thread(engine: Engine, started: Started) -> None:
    console = engine.console(started("sh", "-c", "echo up; sleep 600"), follow=True)
    assert next(console).data == b"up\n"
    rest: list[Piece] = []
    reader = threading.Thread(target=lambda: rest.extend(console))
    reader.start()
    console.close()
    reader.join(10)
    assert not reader.is_alive()
    assert rest == []
    console.close()


def test_a_closed_console_disturbs_no_other_call(engine: Engine, started: Started) -> None:
    name = started("sh", "-c", "echo up")
    for _ in range(20):
        console = engine.console(name, follow=True)
        assert b"".join(console.bytes()) == b"up\n"
        engine.ping()
        console.close()
        assert engine.state(name)


def test_streams_are_told_apart_and_each_piece_has_its_time(engine: Engine, ended: Started) -> None:
    before = time.time() * 1000
    name = ended("sh", "-c", "echo out; sleep 0.01; echo err >&2; sleep 0.01; echo out")
    pieces = list(engine.console(name, follow=True))
    assert [(piece.stream, piece.data) for piece in pieces] == [
        ("stdout", b"out\n"),
        ("stderr", b"err\n"),
        ("stdout", b"out\n"),
    ]
    times = [piece.at for piece in pieces]
    assert before - 1 <= times[0] < times[1] < times[2] <= time.time() * 1000


@pytest.mark.parametrize("follow", [True, False])
@pytest.mark.parametrize(
    "command",
    [
        "yes 0123456789abcdef | head -n 50000",
        "head -c 400000 /dev/zero",
        "for i in $(seq 300); do echo $i; echo $i >&2; done",
    ],
    ids=["lines", "one long line", "both streams"],
)
def test_reading_goes_on_behind_any_piece(engine: Engine, ended: Started, command: str, follow: bool) -> None:
    name = ended("sh", "-c", command)
    pieces = list(engine.console(name, follow=False))
    whole = b"".join(piece.data for piece in pieces)
    for number in {0, len(pieces) // 2, len(pieces) - 1}:
        before = b"".join(piece.data for piece in pieces[: number + 1])
        rest = list(engine.console(name, follow=follow, after=pieces[number].mark))
        assert before + b"".join(piece.data for piece in rest) == whole
        assert not any(piece.after_loss for piece in rest)


def test_a_log_that_has_lost_the_place_is_read_from_what_is_left(engine: Engine, ended: Started) -> None:
    pieces = list(engine.console(ended("echo", "seen"), follow=False))
    other = ended("sh", "-c", "echo left; echo over")
    rest = list(engine.console(other, follow=True, after=pieces[-1].mark))
    assert b"".join(piece.data for piece in rest) == b"left\nover\n"
    assert [piece.after_loss for piece in rest] == [True] + [False] * (len(rest) - 1)
