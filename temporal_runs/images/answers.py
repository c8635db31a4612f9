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

KEPT = 1000


@dataclass(frozen=True)
class Patience:
    """How long an answer is waited for, and how long a registry that gave none is left alone; seconds."""

    within: float
    silence: float


@dataclass
class _Answer:
    lock: threading.Lock = field(default_factory=threading.Lock)
    at: float = float("-inf")
    digest: str = ""
    error: RegistryUnavailable | None = None


class Answers:
    """The answers of all registries; thread-safe. Who asks the same at the same time waits for one answer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._answers: dict[tuple[str, Login], _Answer] = {}

    def digest(self, name: str, login: Login, patience: Patience) -> str:
        """The digest ("sha256:..."); raises ImageNotFound and RegistryUnavailable."""
        with self._lock:
            answer = self._answers.setdefault((name, login), _Answer())
            if len(self._answers) > KEPT:
                old = time.monotonic() - HUB_ANSWER_SECONDS
                self._answers = {key: one for key, one in self._answers.items() if one.at > old or one is answer}
        with answer.lock:
            age = time.monotonic() - answer.at
            believed = HUB_ANSWER_SECONDS if is_of_docker_hub(name) else ANSWER_SECONDS
            silence = (answer.error and answer.error.retry_after) or patience.silence
            if age > (silence if answer.error else believed):
                self._ask(answer, name, login, patience.within)
            if answer.error:
                raise answer.error
            return answer.digest

    def _ask(self, answer: _Answer, name: str, login: Login, within: float) -> None:
        try:
            answer.digest, answer.error = self._engine.digest(name, login.credentials, within), None
        except ImageNotFound:
            raise  # nor is it remembered: it may be pushed the moment after
        except RegistryUnavailable as error:
            answer.error = error
        answer.at = time.monotonic()
