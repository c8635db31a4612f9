"""Traces: a Run's phases as spans of one trace, over all processes that had a part in it. An option (extra `otel`).

It is Temporal's own plugin; nothing else here knows of traces.
"""

from temporalio.worker import Plugin

from temporal_runs.settings import Settings, SettingsError

EVERY = 1000
"""Milliseconds between two exports: what a process has not told when it is ended is lost."""


def begin(settings: Settings) -> None:
    """Has this process send its spans; raises SettingsError where the extra is not installed."""
    if settings.traces is None:
        return
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from temporalio.contrib.opentelemetry import create_tracer_provider
    except ImportError:
        raise SettingsError("TEMPORAL_RUNS_TRACES: install temporal-runs[otel] for it") from None
    # Ids that a replay makes again: a workflow's span goes on in another dispatcher.
    provider = create_tracer_provider(resource=Resource.create({"service.name": "temporal-runs"}))
    exporter = OTLPSpanExporter(endpoint=settings.traces)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=EVERY))
    trace.set_tracer_provider(provider)


def plugins(settings: Settings) -> list[Plugin]:
    """What a worker needs for it."""
    if settings.traces is None:
        return []
    from temporalio.contrib.opentelemetry import OpenTelemetryPlugin

    return [OpenTelemetryPlugin(add_temporal_spans=True)]
