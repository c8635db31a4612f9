"""Images: the classic builder, and a real registry."""

from collections.abc import Callable

import docker
import pytest

from temporal_runs.engine import (
    Build,
    BuildFailed,
    ContextFile,
    Dockerfile,
    Engine,
    EngineError,
    ImageNotFound,
    Progress,
    RegistryUnavailable,
)
from tests.builds import built_on


def nothing(_: Progress) -> None: ...


def test_a_build_adds_its_instructions_to_the_base(engine: Engine, small_image: str, tag: str) -> None:
    seen: list[str] = []
    build = built_on(engine, small_image, "ENV GREETING=hello", "RUN echo $GREETING \\\n  > /greeting")
    built = engine.build(build, tag, lambda progress: seen.append(progress.text))
    assert engine.find_image(tag) == built
    assert engine.find_image(built.id) == built
    assert any(text.startswith("Step 2/3 : ENV GREETING=hello") for text in seen)


def test_a_failing_instruction_is_named_with_its_last_lines(engine: Engine, small_image: str, tag: str) -> None:
    script = "RUN seq 1 50; echo Step 9/9 : RUN spoofed; printf 'half a line' >&2; exit 3"
    with pytest.raises(BuildFailed) as caught:
        engine.build(built_on(engine, small_image, "ENV A=1", script, "RUN never"), tag, nothing)
    assert (caught.value.line, caught.value.instruction) == (3, script)
    lines = caught.value.output.splitlines()
    assert "half a line" in caught.value.output
    assert "50" in lines
    assert "returned a non-zero code: 3" in lines[-1]
    assert len(lines) <= 21
    assert engine.find_image(tag) is None


@pytest.mark.parametrize(
    ("instructions", "line"),
    [
        (["ENV A=1", "RUN echo a \\\n  b", "FOO bar"], 5),
        (["RUN true", "ENV"], 3),
        (["RUN true", "ENV LONELY"], 3),
        (["COPY nothing /here"], 2),
        (["ENV A=1", "RUN --mount=type=cache,target=/x true"], 3),
        (["ENV A=1", 'RUN ["/no/such/program"]'], 3),
    ],
)
def test_an_instruction_that_is_none_is_the_user_s(
    engine: Engine, small_image: str, tag: str, instructions: list[str], line: int
) -> None:
    with pytest.raises(BuildFailed) as caught:
        engine.build(built_on(engine, small_image, *instructions), tag, nothing)
    assert (caught.value.line, caught.value.instruction.split()) == (line, instructions[-1].split())


def test_what_a_report_raises_ends_a_build_and_is_not_translated(engine: Engine, small_image: str, tag: str) -> None:
    def full(progress: Progress) -> None:
        if progress.text.startswith("Step 2"):
            raise OSError("not the engine's")

    with pytest.raises(OSError, match="not the engine's"):
        engine.build(built_on(engine, small_image, "RUN sleep 600"), tag, full)


def test_a_base_that_is_removed_meanwhile_is_not_the_instruction_s_fault(engine: Engine, tag: str) -> None:
    gone = Build(Dockerfile("FROM base:1\nRUN true\n"), {"base:1": f"sha256:{'0' * 64}"})
    with pytest.raises(EngineError, match="was it removed meanwhile") as caught:
        engine.build(gone, tag, nothing)
    assert not isinstance(caught.value, BuildFailed)


def test_an_image_that_is_copied_from_and_whose_registry_is_down(engine: Engine, tag: str, small_image: str) -> None:
    with pytest.raises(RegistryUnavailable):
        engine.build(built_on(engine, small_image, "COPY --from=127.0.0.1:1/base:1 /a /b"), tag, nothing)


def test_a_context_brings_files_folders_and_links_as_they_are(engine: Engine, tag: str, small_image: str) -> None:
    odd = b"caf\xe9 \xff"
    context = [
        ContextFile.of("sub/hello.txt", "hello\n"),
        ContextFile(b"sub/" + odd, "file", executable=True, size=3, content=[b"a", b"bc"]),
        ContextFile(b"sub/link", "link", link=b"/etc/shadow"),
        ContextFile(b"sub/empty", "folder"),
        ContextFile.of("left/out.txt", "no"),
    ]
    check = "RUN cat /at/hello.txt && [ -x /at/caf* ] && [ -L /at/link ] && [ -d /at/empty ] && [ ! -e /left ]"
    engine.build(built_on(engine, small_image, "COPY sub /at", check, context=context), tag, nothing)


def test_stages_and_arguments_name_bases(engine: Engine, tag: str, small_image: str) -> None:
    name, _, version = small_image.partition(":")
    dockerfile = Dockerfile(
        f"ARG NAME=nothing\nARG VERSION={version}\nFROM ${{NAME}}:$VERSION AS first\nARG WORD\n"
        "RUN echo $WORD > /word\nFROM scratch\nCOPY --from=first / /\nRUN [ $(cat /word) = spoken ]\n",
        {"NAME": name, "WORD": "spoken"},
    )
    assert dockerfile.bases == [small_image]
    found = engine.find_image(small_image)
    assert found
    args = {"NAME": name, "WORD": "spoken"}
    engine.build(Build(dockerfile, {small_image: found.id}, args=args), tag, nothing)


def test_an_image_is_pushed_found_and_pulled(engine: Engine, registry: str, small_image: str) -> None:
    reference = f"{registry}/team/busybox:2"
    assert engine.in_registry(reference) is False
    engine.tag_image(small_image, reference)
    image = engine.find_image(small_image)
    progress: list[Progress] = []
    engine.push(reference, progress.append)
    assert any(step.total > 0 for step in progress)
    assert engine.in_registry(reference) is True
    engine.remove_image(reference)
    assert engine.find_image(reference) is None
    pulled = engine.pull(reference, progress.append)
    assert pulled.id == image.id
    by_digest = next(digest for digest in pulled.digests if digest.startswith(f"{registry}/team/busybox@sha256:"))
    assert engine.in_registry(by_digest)
    engine.remove_image(reference)
    engine.remove_image(by_digest)
    assert engine.pull(by_digest, nothing).id == image.id
    engine.remove_image(by_digest)


@pytest.mark.parametrize("name", ["no/such:1", "team/busybox:never"])
def test_a_missing_image_or_tag_is_told_by_the_registry(
    engine: Engine, registry: str, small_image: str, name: str
) -> None:
    engine.tag_image(small_image, f"{registry}/team/busybox:3")
    engine.push(f"{registry}/team/busybox:3", nothing)
    engine.remove_image(f"{registry}/team/busybox:3")
    with pytest.raises(ImageNotFound) as caught:
        engine.pull(f"{registry}/{name}", nothing)
    assert caught.value.reference == f"{registry}/{name}"
    assert engine.in_registry(f"{registry}/{name}") is False


def test_pushing_what_is_not_there(engine: Engine, registry: str) -> None:
    with pytest.raises(ImageNotFound):
        engine.push(f"{registry}/no/such:1", nothing)


@pytest.mark.parametrize("reference", ["127.0.0.1:1/x:1", "nosuch.invalid/x:1"])
def test_a_registry_that_is_not_there(engine: Engine, small_image: str, reference: str) -> None:
    with pytest.raises(RegistryUnavailable):
        engine.pull(reference, nothing)
    with pytest.raises(RegistryUnavailable):
        engine.in_registry(reference)


def test_a_push_to_a_registry_that_is_not_there(engine: Engine, small_image: str) -> None:
    engine.tag_image(small_image, "127.0.0.1:1/x:1")
    try:
        with pytest.raises(RegistryUnavailable):
            engine.push("127.0.0.1:1/x:1", nothing)
    finally:
        engine.remove_image("127.0.0.1:1/x:1")


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (401, {"WWW-Authenticate": 'Basic realm="x"'}),
        (403, {}),
        (429, {"Retry-After": "1"}),
        (500, {}),
        (503, {}),
        (404, {}),
    ],
)
def test_a_registry_that_answers_with_an_error(
    engine: Engine, sick_registry: Callable[..., str], status: int, headers: dict[str, str]
) -> None:
    reference = f"{sick_registry(status, b'404 page not found', headers)}/x:1"
    with pytest.raises(RegistryUnavailable):
        engine.pull(reference, nothing)
    with pytest.raises(RegistryUnavailable):
        engine.in_registry(reference)


def test_a_reference_that_is_none(engine: Engine) -> None:
    assert engine.find_image("Not A Reference") is None
    with pytest.raises(ImageNotFound):
        engine.pull("NOT/A/REFERENCE", nothing)


def test_removing_an_image_leaves_one_that_a_container_uses(
    engine: Engine, small_image: str, make_spec: Callable[..., object]
) -> None:
    docker_image = engine.find_image(small_image)
    assert docker_image
    engine.tag_image(small_image, "engine-test-other:1")
    engine.remove_image("engine-test-other:1")
    engine.remove_image("engine-test-other:1")
    assert engine.find_image(docker_image.id)
    assert docker.from_env().images.get(small_image)
