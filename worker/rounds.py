"""What an executor does again and again beside its Runs. Nothing that goes wrong in a round ends the executor: it is
told, and tried again at the next one.
"""

from collections.abc import Generator
from contextlib import contextmanager

import structlog

from temporal_runs.asking import UNANSWERED
from temporal_runs.engine import EngineError
from temporal_runs.registries import PasswordUnreadable
from temporal_runs.store import StoreError

log = structlog.get_logger()

TROUBLES = (*UNANSWERED, EngineError, StoreError, PasswordUnreadable, OSError)
"""What others do to us; anything else is a bug of ours, and told with its traceback."""


@contextmanager
def tried_again(what: str, **about: object) -> Generator[None]:
    """Surrounds what the next round does again; `what` is said where it fails, as in "not freed yet"."""
    try:
        yield
    except TROUBLES as trouble:
        log.warning(what, **about, error=str(trouble))
    except Exception:
        log.exception(what, **about)
