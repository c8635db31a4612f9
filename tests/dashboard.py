"""The Grafana dashboard of `deploy/`, read for what it asks of Prometheus."""

import json
import re
from pathlib import Path
from typing import Any

DASHBOARD: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "deploy" / "grafana" / "dashboard.json").read_text()
)
QUERIES: list[str] = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def metrics_asked_for() -> set[str]:
    """Names of the metrics in its queries; of a histogram its own."""
    found = {name for query in QUERIES for name in re.findall(r"\btemporal_\w+", query)}
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in found}
