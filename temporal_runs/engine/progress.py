"""How far a pull, push or build is, as its messages tell it: of a pull or push by layer, added up as they come."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

_DONE = ("pull complete", "already exists", "pushed", "layer already exists", "mounted from")
_FETCHED = ("verifying checksum", "download complete", "extracting", *_DONE)
"""What a layer's state begins with once all its bytes are here."""

_MIB = 2**20


@dataclass(frozen=True)
class Layer:
    """A layer of a pull or push: the engine's short id and words for what it does, and bytes; 0 where unknown."""

    id: str
    state: str
    current: int = 0
    total: int = 0


@dataclass(frozen=True)
class Progress:
    """How far it is, in words, and in bytes of all layers whose size is known by now; a build has an instruction."""

    text: str
    current: int = 0
    total: int = 0
    layers: tuple[Layer, ...] = ()
    instruction: str = ""


Report = Callable[[Progress], None]
"""Called for every step. What it raises ends the work: the connection is closed, and the engine gives up."""


class Layers:
    """The layers of one pull or push."""

    def __init__(self) -> None:
        self._layers: dict[str, Layer] = {}
        self._current = 0
        self._total = 0
        self._done = 0

    def read(self, message: dict[str, Any]) -> Progress:
        """Takes one message of the engine, of which there are thousands: only its own layer is looked at."""
        status: str = message.get("status", "")
        identity: str = message.get("id", "")
        # A layer's id is hexadecimal; a pull begins with a message whose id is the tag, which may be so too.
        if not identity or status.startswith("Pulling from ") or identity.strip("0123456789abcdef"):
            return Progress(status, self._current, self._total, tuple(self._layers.values()))
        before = self._layers.get(identity) or Layer(identity, "")
        now = self._layers[identity] = _after(before, status.lower(), message.get("progressDetail") or {})
        self._current += now.current - before.current
        self._total += now.total - before.total
        self._done += now.state.startswith(_DONE) - before.state.startswith(_DONE)
        return Progress(self._text(now), self._current, self._total, tuple(self._layers.values()))

    def _text(self, layer: Layer) -> str:
        text = f"{self._done} of {len(self._layers)} layers"
        if self._total:
            text += f", {self._current / _MIB:.1f} of {self._total / _MIB:.1f} MiB"
        # The engine itself tries a layer again, five times in a minute, before it gives up.
        return f"{text}, {layer.id} {layer.state}" if layer.state.startswith("retrying") else text


def _after(before: Layer, state: str, detail: dict[str, int]) -> Layer:
    """The layer after a message. Bytes are those that have come: what is extracted is not counted again."""
    if state.startswith(_FETCHED):
        return replace(before, state=state, current=before.total)
    total = max(before.total, detail.get("total") or 0)
    current = detail.get("current", before.current)
    # A push counts tar headers too, and ends beyond its total.
    return Layer(before.id, state, min(current, total) if total else current, total)
