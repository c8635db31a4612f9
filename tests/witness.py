"""A command that tells on itself, and the check of what has arrived of it: nothing lost, twice, or out of order.

It counts its starts in a file of its results, numbers the lines that it prints, and writes each number into its
results before it prints it. It goes on until its switch is turned: a file of the machine that it sees.
"""

from collections.abc import Mapping

SWITCHES = "switches"
"""The folder of the machine, in HOME, that tiers of tests mount."""

PRINTED_AT_THE_END = 100
FILES = 5


def witness(ending: str) -> str:
    """The command, for a shell; `ending` is what it does after its switch was turned."""
    return f"""
        echo started >> starts
        n=0
        say() {{ n=$((n+1)); echo $n >> said; echo "line $n"; }}
        say
        while [ ! -e /datasets/{SWITCHES}/$RUN_ID ]; do say; sleep 0.3; done
        while [ $n -lt {PRINTED_AT_THE_END} ]; do say; done
        mkdir files
        for i in {" ".join(map(str, range(FILES)))}; do echo "file $i of $RUN_ID" > files/$i; done
        say
        {ending}
    """


def check(run_id: str, files: Mapping[str, bytes], console: bytes, *, to_the_end: bool, captured: bool = True) -> None:
    """Raises AssertionError unless the command was executed once, and all that it wrote and printed is there.

    `to_the_end`: its ending was reached; else it was ended before, in the middle of anything.
    `captured`: until its end; else its container was taken away, and with it what was printed last.
    """
    starts = files.get("starts", b"").decode().split()
    assert starts == ["started"], f"executed {len(starts)} times"
    said = files.get("said", b"").decode().split()
    assert said == [str(n) for n in range(1, len(said) + 1)], f"not what it wrote: {said}"
    lines = console.decode().splitlines(keepends=True)
    numbered = [f"line {n}\n" for n in range(1, len(lines) + 1)]
    assert lines == numbered, f"console lost, doubled or out of order: {_first_difference(lines, numbered)}"
    # A number is written before it is printed, so that what ended between the two has one line less.
    least = len(said) - (0 if to_the_end else 1)
    assert len(lines) <= len(said), f"{len(lines)} lines, {len(said)} numbers"
    assert not captured or len(lines) >= least, f"console ends with {len(lines)} of {len(said)} lines"
    if to_the_end:
        there = {path: data.decode() for path, data in files.items() if path.startswith("files/")}
        assert there == {f"files/{i}": f"file {i} of {run_id}\n" for i in range(FILES)}, f"results: {there}"


def _first_difference(lines: list[str], numbered: list[str]) -> str:
    return next(
        (f"{line!r} for {wanted!r}" for line, wanted in zip(lines, numbered, strict=True) if line != wanted), ""
    )
