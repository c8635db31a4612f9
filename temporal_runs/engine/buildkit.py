"""Builds by BuildKit, through docker's own `buildx` command: where the machine has it. It alone knows build secrets.

Not tested: no machine that the tests run on has buildx.
"""

import os
import re
import subprocess
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from .context import DOCKERFILE, Build, write_archive
from .errors import BuildFailed, EngineError
from .images import ImageInfo, Images
from .interrupt import Interrupt
from .progress import Progress, Report

OUTPUT_LINES = 20
_COMMAND = ("docker", "buildx")
_FAILED_AT = re.compile(r"^(?:\S*/)?Dockerfile:(\d+)$")
_INSTRUCTION_FAILED = ("did not complete successfully", "dockerfile parse error", "failed to compute cache key")


def has_buildx() -> bool:
    """Whether this machine's docker command builds with BuildKit."""
    try:
        return subprocess.run([*_COMMAND, "version"], capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def build_with_buildkit(
    images: Images,
    build: Build,
    archive: IO[bytes],
    tag: str,
    progress: Report,
    interrupt: Interrupt | None,
) -> ImageInfo:
    """Builds a context, by way of an empty file for its archive; raises BuildFailed, EngineError."""
    # It knows no image by its id.
    names = {base: f"temporal-runs/base:{image.rpartition(':')[2][:32]}" for base, image in build.bases.items()}
    for base, name in names.items():
        images.tag_image(build.bases[base], name)
    write_archive(build, names, archive)
    command = [*_COMMAND, "build", "--progress=plain", "--load", "--tag", tag, "--file", DOCKERFILE]
    for name, value in build.args.items():
        command += ["--build-arg", f"{name}={value}"]
    for name, file in build.secrets.items():
        command += ["--secret", f"id={name},src={file}"]
    if build.cache:
        command += [
            "--tag",
            build.cache,
            "--cache-from",
            f"type=registry,ref={build.cache}",
            "--cache-to",
            "type=inline",
        ]
    working = subprocess.Popen(
        [*command, "-"],
        stdin=archive,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "DOCKER_BUILDKIT": "1"},
    )
    assert working.stdout
    hidden = _lines_of(build.secrets.values())
    lines: deque[str] = deque(maxlen=OUTPUT_LINES)
    failed_at = 1
    try:
        with working.stdout as output:
            for line in output:
                lines.append(_without(hidden, line.rstrip()))
                if found := _FAILED_AT.match(lines[-1]):
                    failed_at = int(found[1])
                progress(Progress(lines[-1]))
                if interrupt and interrupt.is_set:
                    break
    finally:
        if interrupt and interrupt.is_set:
            working.terminate()
        status = working.wait()
    said = "\n".join(lines)
    if status == 0 and (built := images.find_image(tag)):
        return built
    if any(phrase in said for phrase in _INSTRUCTION_FAILED):
        instruction = next((one for one in build.dockerfile.instructions if failed_at <= one.last_line), "")
        raise BuildFailed(str(instruction), failed_at, said)
    raise EngineError(f"buildx could not build {tag}: {said}")


def _lines_of(secrets: Iterable[Path]) -> list[str]:
    """What a build's output must not show, in the lines that it would be printed in; the longest first, since one may
    be a part of another."""
    lines = {line.strip() for file in secrets for line in file.read_text(errors="replace").splitlines()}
    return sorted(filter(None, lines), key=len, reverse=True)


def _without(hidden: list[str], line: str) -> str:
    for secret in hidden:
        line = line.replace(secret, "***")
    return line
