"""When a busy registry wants to be asked again: the engine swallows that header, so the registry is asked once more."""

from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import requests

LONGEST = 60.0
"""Seconds: who waits longer is better off with another try."""

TIMEOUT = 3

_HUB = "registry-1.docker.io"


def retry_after(name: str, version: str) -> float | None:
    """Seconds that the registry of an image asks to wait; None where it does not say. Never raises, asks as nobody."""
    host, path = split_host(name)
    scheme = "http" if _is_local(host) else "https"
    try:
        with requests.Session() as session:
            # Passwords are only the engine's to send, and a proxy does not lead to this machine.
            session.trust_env = not _is_local(host)
            session.auth = _as_nobody
            answer = session.head(f"{scheme}://{host}/v2/{path}/manifests/{version}", timeout=TIMEOUT)
    except (requests.RequestException, OSError):
        return None
    return _seconds(answer.headers.get("Retry-After", ""))


def split_host(name: str) -> tuple[str, str]:
    """A repository's registry, and its path there."""
    host, slash, path = name.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        return (_HUB if host in ("docker.io", "index.docker.io") else host), path
    return _HUB, name if slash else f"library/{name}"


def _seconds(header: str) -> float | None:
    """Of "120", or of an HTTP date."""
    if header.strip().isdecimal():
        return min(float(header), LONGEST)
    with suppress(ValueError):
        at = parsedate_to_datetime(header)
        left = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
        return min(max(left, 0.0), LONGEST)
    return None


def _is_local(host: str) -> bool:
    return host.startswith("127.") or host.partition(":")[0] == "localhost"


def _as_nobody(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
