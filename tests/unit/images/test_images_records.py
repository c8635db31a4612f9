"""Records of images: what is on disk is what is known, whatever is killed, and whoever comes at once."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from temporal_runs.images import Record, Records, RecordsUnreadable
from temporal_runs.images.records import Expected
from tests.dying import killed_everywhere

PRIVATE = Record(
    id="sha256:1", names=("a:1",), proof="a@sha256:2", source="ada's", allowed=("ada's",), size=3,
    last_used=datetime(2026, 1, 1, tzinfo=UTC),
)  # fmt: skip
EXPECTED = Expected("b@sha256:3", "ada's", ("sha256:1",))


def test_what_is_recorded_is_known_to_the_next_process(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.put(PRIVATE)
    records.allow(PRIVATE.id, "bob's")
    records.use(PRIVATE.id, "a:2")
    records.expect(EXPECTED)
    again = Records(tmp_path)
    assert again.all() == records.all()
    assert again.expected() == [EXPECTED]
    [record] = again.all()
    assert record.allowed == ("ada's", "bob's")
    assert record.names == ("a:1", "a:2")
    assert record.last_used > PRIVATE.last_used


@pytest.mark.parametrize(
    "change",
    [
        lambda records: records.allow(PRIVATE.id, "bob's"),
        lambda records: records.refuse(PRIVATE.id, "ada's"),
        lambda records: records.remove(PRIVATE, lambda _: True),
        lambda records: records.expect(EXPECTED),
    ],
)
def test_a_kill_leaves_the_old_records_or_the_new(tmp_path: Path, change: Callable[[Records], None]) -> None:
    def work(folder: Path) -> Records:
        records = Records(folder)
        records.put(PRIVATE)
        change(records)
        return records

    done = work(tmp_path / "done")
    possible = ([], []), ([PRIVATE], []), (done.all(), done.expected())
    for _ in killed_everywhere(lambda: work(tmp_path / "killed")):
        found = Records(tmp_path / "killed")
        assert (found.all(), found.expected()) in possible
        shutil.rmtree(tmp_path / "killed")


def test_a_draft_that_was_torn_is_not_read(tmp_path: Path) -> None:
    Records(tmp_path).put(PRIVATE)
    (tmp_path / "images.draft").write_bytes(b'{"images": [{"id"')
    assert Records(tmp_path).all() == [PRIVATE]


def test_records_that_cannot_be_read_are_not_taken_for_none(tmp_path: Path) -> None:
    Records(tmp_path).put(PRIVATE)
    (tmp_path / "images.json").write_bytes(b"")
    with pytest.raises(RecordsUnreadable, match=r"images\.json cannot be read"):
        Records(tmp_path)


def test_what_is_used_meanwhile_is_not_removed(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.put(PRIVATE)
    [seen] = records.all()
    records.use(PRIVATE.id)
    assert records.remove(seen, lambda _: pytest.fail("it is used")) is False


def test_what_is_being_removed_is_not_used(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.put(PRIVATE)

    def discard(image: str) -> bool:
        assert records.use(image) is False
        return True

    assert records.remove(PRIVATE, discard) is True
    assert records.get(PRIVATE.id) is None


def test_what_could_not_be_removed_is_known_on(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.put(PRIVATE)
    assert records.remove(PRIVATE, lambda _: False) is False

    def fail(_: str) -> bool:
        raise OSError

    with pytest.raises(OSError):
        records.remove(PRIVATE, fail)
    assert records.use(PRIVATE.id) is True


def test_an_image_that_comes_again_is_nobody_else_s(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.put(PRIVATE)
    records.put(msgspec.structs.replace(PRIVATE, names=("c:1",), source="", proof="c@sha256:2", allowed=("",)))
    [record] = records.all()
    assert (record.source, record.proof) == (PRIVATE.source, PRIVATE.proof)
    assert record.allowed == ("ada's", "")
    assert record.names == ("a:1", "c:1")
