"""What is read of a Dockerfile before it is built: where it starts from, what it takes, which line is which."""

import pytest

from temporal_runs.engine import Dockerfile

STAGES = """\
# syntax is no matter
ARG VERSION=3.11
ARG HOST
FROM --platform=linux/amd64 \\
  ${HOST:-registry:5000}/python:$VERSION-slim AS build
RUN echo a \\
  # within
  b
FROM build AS next
COPY --from=build /x /y
FROM scratch
COPY --chown=1:1 ["a b", "/"]
ADD *.py src/ /
"""


def test_bases_are_named_once_with_arguments_in_place_and_without_stages():
    assert Dockerfile(STAGES, {"VERSION": "3.12"}).bases == ["registry:5000/python:3.12-slim"]
    assert Dockerfile(STAGES, {"HOST": "hub"}).bases == ["hub/python:3.11-slim"]
    assert Dockerfile("FROM a\nFROM b AS c\nFROM a\nFROM C\n").bases == ["a", "b"]


def test_an_argument_that_is_given_after_the_first_from_decides_no_base():
    assert Dockerfile("ARG A=x\nFROM $A\nARG A=y\nFROM $A\n").bases == ["x"]


def test_bases_are_pinned_line_for_line():
    base = "registry:5000/python:3.11-slim"
    pinned = Dockerfile(STAGES).pinned({base: "sha256:1"})
    assert len(pinned.splitlines()) == len(STAGES.splitlines())
    assert "FROM --platform=linux/amd64 sha256:1 AS build\n\nRUN" in pinned
    assert "FROM build AS next" in pinned


def test_instructions_are_counted_with_their_lines():
    found = Dockerfile(STAGES).instructions
    assert [(one.keyword, one.line, one.last_line) for one in found][:5] == [
        ("ARG", 2, 2),
        ("ARG", 3, 3),
        ("FROM", 4, 5),
        ("RUN", 6, 8),
        ("FROM", 9, 9),
    ]


@pytest.mark.parametrize(
    ("instruction", "sources"),
    [
        ("COPY a b /", ["a", "b"]),
        ("COPY --from=other a /", []),
        ('ADD ["a b", "/"]', ["a b"]),
        ("COPY . /", None),
        ("COPY ./ /", None),
        ("COPY $WHAT /", None),
        ("RUN --mount=type=bind,source=a,target=/a true", None),
        ("ONBUILD COPY a /", None),
        ("RUN true", []),
    ],
)
def test_the_files_that_it_takes(instruction: str, sources: list[str] | None):
    assert Dockerfile(f"FROM x\n{instruction}\n").sources == sources
