"""What is known of a process from outside: its log, its metrics, its traces. Begun before anything else is."""

from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig

from temporal_runs import metrics
from temporal_runs.settings import Settings, SettingsError
from temporal_runs.worker import logs, traces


def begin(settings: Settings) -> None:
    """Of this process; raises SettingsError where its metrics cannot be served, or its traces not sent."""
    logs.begin()
    traces.begin(settings)
    Runtime.set_default(runtime(settings), error_if_already_set=False)


def runtime(settings: Settings) -> Runtime:
    """The SDK's, which tells Prometheus what it measures itself and what we do, at one address."""
    served = settings.metrics and PrometheusConfig(
        settings.metrics,
        counters_total_suffix=True,
        unit_suffix=True,
        durations_as_seconds=True,
        histogram_bucket_overrides={metrics.IN_STATE.name: metrics.IN_STATE.bounds},
    )
    try:
        return Runtime(telemetry=TelemetryConfig(logging=logs.of_core(), metrics=served or None))
    except ValueError as error:
        raise SettingsError(f"TEMPORAL_RUNS_METRICS: {settings.metrics}: {error}") from None
