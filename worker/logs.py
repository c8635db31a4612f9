"""What a process says of itself: one stream on stderr, a JSON object a line; on a terminal, lines for people.

Ours, the SDK's, and those of its Rust core come the same way, each with the Run, the phase and the executor it is of.
"""

import logging
import os
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger
from temporalio import activity, workflow
from temporalio.runtime import LogForwardingConfig, LoggingConfig, TelemetryFilter
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

CORE = "temporal.core"


def begin(stream: TextIO | None = None) -> None:
    """From now on everything is logged there; stderr by default."""
    stream = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(["state", "cause"]), _of_temporal],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(stream)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    # `_of_temporal` says it better.
    workflow.logger.workflow_info_on_message = activity.logger.activity_info_on_message = False


def of_core() -> LoggingConfig:
    """How the SDK's core is to log."""
    forwarding = LogForwardingConfig(
        logging.getLogger(CORE),
        append_target_to_name=False,
        prepend_target_on_message=False,
        append_log_fields_to_message=False,
    )
    return LoggingConfig(TelemetryFilter(core_level="WARN", other_level="ERROR"), forwarding)


class Named(Interceptor):
    """Whatever an activity logs, in whichever module and thread, names its Run, its phase and the try at it."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _NamedActivity(next)


class _NamedActivity(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> object:
        info = activity.info()
        of = _of(info.workflow_type, info.workflow_id)
        with structlog.contextvars.bound_contextvars(**of, phase=info.activity_type, attempt=info.attempt):
            return await super().execute_activity(input)


def _of_temporal(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """What the SDK hangs to its records, in our names."""
    record: logging.LogRecord = event["_record"]
    if of_workflow := getattr(record, "temporal_workflow", None):
        event.update(_of(of_workflow["workflow_type"], of_workflow["workflow_id"]))
    if of_core := getattr(record, "temporal_log", None):
        event.update({f"core_{at}": value for at, value in of_core.fields.items()}, target=of_core.target)
    return event


def _of(workflow_type: str | None, workflow_id: str | None) -> dict[str, str | None]:
    return {"run_id" if workflow_type == "Run" else "workflow": workflow_id}


def _rendering(stream: TextIO) -> list[Processor]:
    if stream.isatty():
        # The other tracebacks it has show local variables, and these may hold secrets.
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors="NO_COLOR" not in os.environ, exception_formatter=plain)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
