"""The dashboard loads, and asks for nothing that no process tells."""

import re

from temporal_runs import metrics
from tests.dashboard import DASHBOARD, QUERIES, metrics_asked_for

OURS = {metric.series for metric in metrics.ALL}


def test_every_metric_of_the_dashboard_is_one_of_ours_or_of_the_sdk():
    asked_for = metrics_asked_for()
    assert {name for name in asked_for if name.startswith("temporal_runs_")} == OURS
    # That the SDK tells these, tests/integration/test_observed.py sees.
    assert len(asked_for - OURS) == 3


def test_its_queries_are_whole_and_select_by_labels_that_there_are():
    for query in QUERIES:
        assert query.count("(") == query.count(")"), query
        for name, labels in re.findall(r"(temporal_runs_\w+)\{(.*?)\}", query):
            metric = next(one for one in metrics.ALL if name.startswith(one.series))
            for label in re.findall(r"(\w+)\s*(?:=~|!=|=)", labels):
                assert label in metric.what, f"{label} of {name}"


def test_panels_do_not_overlap_and_use_the_datasource_that_is_chosen():
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places) == len({panel["id"] for panel in DASHBOARD["panels"]})
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {"${datasource}"}
