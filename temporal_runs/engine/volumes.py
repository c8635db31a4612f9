"""Volumes that show an overlay: the engine mounts one with the container that uses it, and unmounts it with its end."""

import hashlib
import io
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from docker.types import Mount

from ._connection import Connection, Refused
from .errors import EngineError


class Volumes:
    """The volumes of one engine."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create_overlay(self, name: str, options: str, labels: Mapping[str, str]) -> None:
        """Makes a volume, or leaves the one of that name as it is. Its folders are those of the engine's machine."""
        mount = {"type": "overlay", "device": "overlay", "o": options}
        self._connection.ask(lambda api: api.create_volume(name, "local", mount, dict(labels)))

    def remove_volume(self, name: str) -> None:
        """Removes a volume that no container has, but not what is in its folders; one that is not there is fine."""
        try:
            self._connection.ask(lambda api: api.remove_volume(name))
        except Refused as error:
            if error.status != 404:
                raise

    def volumes(self, labels: Mapping[str, str]) -> list[str]:
        """Names of all volumes that have these labels."""
        wanted = {"label": [f"{key}={value}" for key, value in labels.items()]}
        found: list[dict[str, Any]] = self._connection.ask(lambda api: api.volumes(filters=wanted))["Volumes"] or []
        return [one["Name"] for one in found]

    def write_through(self, options: str, folder: str, name: str) -> None:
        """Has the engine mount an overlay and write an empty file into a folder of it; raises EngineError.

        What tells whether this engine, on its machine, does with our folders what we take for granted.
        """
        # Named after the folders: what was left by one that was killed is found again.
        own = f"temporal-runs-probe-{hashlib.sha256(options.encode()).hexdigest()[:12]}"
        mount: Any = Mount(target="/mnt", source=own, type="volume", no_copy=True)

        def write(api: Any) -> None:
            api.import_image_from_data(archive(folder=True, name="mnt"), repository=own)
            config = api.create_host_config(mounts=[mount])
            api.create_container(own, ["never started"], name=own, host_config=config)
            api.put_archive(own, f"/mnt/{folder}", archive(folder=False, name=name))

        def remove() -> None:
            with suppress(EngineError):
                self._connection.ask(lambda api: api.remove_container(own, force=True))
            with suppress(EngineError):
                self._connection.ask(lambda api: api.remove_image(own))
            self.remove_volume(own)

        remove()
        self.create_overlay(own, options, {})
        try:
            self._connection.ask(write)
        finally:
            remove()


def archive(*, folder: bool, name: str) -> bytes:
    """A tar archive of an empty folder or file."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.mode = 0o755
        if folder:
            entry.type = tarfile.DIRTYPE
        tar.addfile(entry)
    return data.getvalue()
