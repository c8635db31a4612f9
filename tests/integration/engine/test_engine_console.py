"""The console of a container, byte by byte."""

import threading
from collections.abc import Callable
from pathlib import Path

from temporal_runs.engine import Engine

Started = Callable[..., str]


def test_bytes_come_as_they_were_printed(engine: Engine, started: Started, tmp_path: Path) -> None:
    printed = bytes(range(256)) * 300 + b"\xff\xfe no newline at the end\x00"
    (tmp_path / "bytes").write_bytes(printed)
    tmp_path.chmod(0o755)
    name = started("cat", "/mnt/bytes", mounts={str(tmp_path): "/mnt"})
    assert b"".join(engine.console(name, follow=True)) == printed
    assert b"".join(engine.console(name, follow=False)) == printed


def test_five_megabytes_of_lines_of_an_ended_container_are_all_there(engine: Engine, started: Started) -> None:
    name = started("sh", "-c", "yes 0123456789abcdef0123456789abcdef | head -n 160000")
    engine.wait(name)
    expected = b"0123456789abcdef0123456789abcdef\n" * 160000
    assert b"".join(engine.console(name, follow=False)) == expected
    assert b"".join(engine.console(name, follow=True)) == expected


def test_one_line_of_five_megabytes_is_one_line(engine: Engine, started: Started) -> None:
    name = started("sh", "-c", "head -c 5000000 /dev/zero")
    assert b"".join(engine.console(name, follow=True)) == bytes(5_000_000)


def test_stderr_stands_where_it_was_printed(engine: Engine, started: Started) -> None:
    name = started("sh", "-c", "for i in 1 2 3; do echo out $i; sleep 0.05; echo err $i >&2; sleep 0.05; done")
    assert b"".join(engine.console(name, follow=True)).split(b"\n") == [
        *(f"{stream} {i}".encode() for i in (1, 2, 3) for stream in ("out", "err")),
        b"",
    ]


def test_closing_wakes_a_reader_in_another_thread(engine: Engine, started: Started) -> None:
    console = engine.console(started("sh", "-c", "echo up; sleep 600"), follow=True)
    assert next(console) == b"up\n"
    rest: list[bytes] = []
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
        assert b"".join(console) == b"up\n"
        engine.ping()
        console.close()
        assert engine.state(name)
