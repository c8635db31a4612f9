"""What a build by BuildKit says shows nothing of its secrets.

With a stand-in for docker's buildx, which prints what a build would: no machine of ours has it.
"""

from pathlib import Path
from typing import cast

import pytest

from temporal_runs.engine import Build, BuildFailed, Dockerfile, Progress
from temporal_runs.engine.buildkit import build_with_buildkit
from temporal_runs.engine.images import Images

BUILDX = """#!/bin/sh
cat > /dev/null
echo '#5 [2/2] RUN cat /run/secrets/key'
echo '#5 0.1 --hunter2-- '
echo '#5 0.2 second-line'
echo 'process "/bin/sh -c cat" did not complete successfully: exit code: 1'
echo 'Dockerfile:2'
exit 1
"""


def test_neither_progress_nor_failure_shows_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    buildx = tmp_path / "docker"
    buildx.write_text(BUILDX)
    buildx.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    secret = tmp_path / "key"
    secret.write_bytes(b"hunter2\nsecond-line\n\n\xff\n")
    build = Build(Dockerfile("FROM scratch\nRUN cat /run/secrets/key\n"), {}, secrets={"key": secret})
    said: list[Progress] = []
    archive = (tmp_path / "archive").open("w+b")
    no_images = cast(Images, None)
    with archive, pytest.raises(BuildFailed) as failure:
        build_with_buildkit(no_images, build, archive, "tag", said.append, None)
    for text in (failure.value.output, "\n".join(one.text for one in said)):
        assert "#5 0.1 --***--" in text
        assert "hunter2" not in text
        assert "second-line" not in text
