"""Builds by BuildKit, through docker's own `buildx` command: where the machine has it. It alone knows build secrets.

Not tested: no machine that the tests run on has buildx.
"""

import os
import re
import subprocess
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from .builds import DOCKERFILE, OUTPUT_LINES, Build
from .errors import BuildFailed, EngineError
from .images import ImageInfo, Images
from .interrupt import Interrupt
from .progress import Progress, Report

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
    secrets: Mapping[str, Path],
    cache: str | None,
) -> ImageInfo:
    """Builds an archived context. `secrets`: id → file that holds it; `cache`: a tag in a registry, whose layers are
    taken where they fit, and which the built image is to be pushed to as well. Raises BuildFailed, EngineError."""
    command = [*_COMMAND, "build", "--progress=plain", "--load", "--tag", tag, "--file", DOCKERFILE]
    for name, value in build.args.items():
        command += ["--build-arg", f"{name}={value}"]
    for name, file in secrets.items():
        command += ["--secret", f"id={name},src={file}"]
    if cache:
        command += ["--tag", cache, "--cache-from", f"type=registry,ref={cache}", "--cache-to", "type=inline"]
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
    lines: deque[str] = deque(maxlen=OUTPUT_LINES)
    failed_at = 1
    try:
        with working.stdout as output:
            for line in output:
                lines.append(line.rstrip())
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
