"""Which digest a name has in its registry, for a login. Answers are remembered for a while, and so is getting none."""

import threading
import time
from dataclasses import dataclass, field

from temporal_runs.engine import Engine, ImageNotFound, RegistryUnavailable

from .login import Login
from .names import is_of_docker_hub

ANSWER_SECONDS = 60
"""How long a digest is believed."""

HUB_ANSWER_SECONDS = 1800
"""The same of Docker Hub, which counts each question as a pull, and allows few of them."""

SILENCE_SECONDS = 10
"""How long a registry is left alone that gave none, and does not say how long: a machine without a network does not
pay for every Run."""

KEPT = 1000


@dataclass
class _Answer:
    lock: threading.Lock = field(default_factory=threading.Lock)
    until: float = 0
    digest: str = ""
    error: RegistryUnavailable | None = None


class Answers:
    """The answers of all registries; thread-safe. Who asks the same at the same time waits for one answer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._answers: dict[tuple[str, str], _Answer] = {}

    def digest(self, name: str, login: Login, within: float) -> str:
        """The digest ("sha256:..."); raises ImageNotFound, RegistryUnavailable, the latter also after `within` s."""
        with self._lock:
            answer = self._answers.setdefault((name, login.name), _Answer())
            if len(self._answers) > KEPT:
                now = time.monotonic()
                self._answers = {key: one for key, one in self._answers.items() if one.until > now or one is answer}
        with answer.lock:
            if time.monotonic() > answer.until:
                self._ask(answer, name, login, within)
            if answer.error:
                raise answer.error
            return answer.digest

    def _ask(self, answer: _Answer, name: str, login: Login, within: float) -> None:
        try:
            answer.digest, answer.error = self._engine.digest(name, login.credentials, within), None
            seconds = HUB_ANSWER_SECONDS if is_of_docker_hub(name) else ANSWER_SECONDS
            answer.until = time.monotonic() + seconds
        except ImageNotFound:
            raise  # it may be pushed the moment after
        except RegistryUnavailable as error:
            answer.error = error
            answer.until = time.monotonic() + (error.retry_after or SILENCE_SECONDS)
