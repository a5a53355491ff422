"""Names, labels and exposition of the metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from aoi_events.telemetry.catalogue import CATALOGUE, Definition
from aoi_events.telemetry.prometheus import PrometheusMetrics
from tests.unit.telemetry.every_metric import CHANNELS, QUEUES, tell_everything

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
_UNITS = ("_seconds", "_messages")


@pytest.fixture
def metrics() -> PrometheusMetrics:
    """Metrics with something in each of them."""
    metrics = PrometheusMetrics(channels=CHANNELS, queues=QUEUES)
    tell_everything(metrics)
    return metrics


def samples(metrics: PrometheusMetrics) -> Iterator[tuple[str, dict[str, str], float]]:
    """Every sample of ours: name, labels, value."""
    text, _ = metrics.exposition("")
    for family in plain(text.decode()):
        for sample in family.samples:
            if sample.name.startswith("aoi_"):
                yield sample.name, sample.labels, sample.value


@pytest.mark.parametrize("definition", CATALOGUE, ids=lambda each: each.name)
def test_names_follow_the_conventions(definition: Definition) -> None:
    """A counter ends in ``_total``, a histogram in its base unit, a gauge in neither; no name
    repeats a label; https://prometheus.io/docs/practices/naming/.
    """
    assert re.fullmatch(r"aoi(_[a-z]+)+", definition.name)
    assert definition.name.endswith("_total") is (definition.kind == "counter")
    assert definition.name.endswith(_UNITS) is (definition.kind == "histogram")
    assert bool(definition.buckets) is (definition.kind == "histogram")
    assert list(definition.buckets) == sorted(set(definition.buckets))
    assert definition.meaning.endswith(".")
    assert not {label.name for label in definition.labels} & {"le", "quantile", "job", "instance"}


def test_both_formats_are_read_by_their_parsers(metrics: PrometheusMetrics) -> None:
    """Whatever a scraper accepts, it can read, and is told what it is."""
    text, kind = metrics.exposition("text/plain")
    assert kind.startswith("text/plain; version=0.0.4")
    names = {family.name for family in plain(text.decode())}
    text, kind = metrics.exposition(f"{OPENMETRICS};q=0.8,text/plain;q=0.5")
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    families = list(openmetrics(text.decode()))  # type: ignore[no-untyped-call]
    assert {f"{each.name}_total" if each.type == "counter" else each.name for each in families} <= {
        name if not name.endswith("_info") else name.removesuffix("_info") for name in names
    } | {f"{name}_total" for name in names} | names


def test_the_catalogue_is_what_is_served(metrics: PrometheusMetrics) -> None:
    """Nothing of ours is served that is not in the catalogue with this type and meaning, and all
    of the catalogue is.
    """
    served = {
        (f"{each.name}_total" if each.type == "counter" else each.name): (
            each.type,
            each.documentation,
        )
        for each in metrics.registry.collect()
        if each.name.startswith("aoi_")
    }
    assert served == {each.name: (each.kind, each.meaning) for each in CATALOGUE}


def test_every_metric_can_be_told(metrics: PrometheusMetrics) -> None:
    """Each one has a sample once everything happened, with just the labels that it is said to
    have.
    """
    found: dict[str, set[str]] = {}
    for name, labels, _ in samples(metrics):
        base = re.sub(r"_(bucket|sum|count|created)$", "", name)
        for each in CATALOGUE:
            if each.name in (name, base, f"{base}_total"):
                found.setdefault(each.name, set()).update(set(labels) - {"le"})
    assert found == {each.name: {label.name for label in each.labels} for each in CATALOGUE}


def test_the_process_is_served_too(metrics: PrometheusMetrics) -> None:
    """CPU, memory, files and garbage collection of the process, as everywhere."""
    text = metrics.exposition("")[0].decode()
    for name in (
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "python_gc_collections_total",
        "python_info",
    ):
        assert f"\n{name}" in text


def test_two_installations_share_nothing(metrics: PrometheusMetrics) -> None:
    """Each one has a registry of its own, also in one process."""
    other = PrometheusMetrics(channels=CHANNELS, queues=QUEUES)
    counted = {name: value for name, _, value in samples(other) if name.endswith("_total")}
    assert counted["aoi_deliveries_accepted_total"] == 0
    assert next(v for n, _, v in samples(metrics) if n == "aoi_deliveries_accepted_total") > 0
