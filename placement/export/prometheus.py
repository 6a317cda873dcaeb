"""What was predicted as metrics, beside what live Tritons report.

`prometheus.yml` scrapes the layout's Tritons under the names of their devices. The predictions come
as recording rules (`rules.yml`), so that Prometheus has them without a program that serves them,
and once more as `model-placer.prom`, for node_exporter's textfile collector or any other reader of
the text format. `grafana-dashboard.json` shows both: import it into Grafana.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from placement.export import folder
from placement.export.nginx import Address
from placement.export.servers import Server
from placement.layout import Layout
from profiles.measurement import Measurement
from profiles.up_to_date import up_to_date

INTERVAL = "5s"
HELP = {
    "model_placer_predicted_use": "Predicted use of a device's resource, in its unit.",
    "model_placer_capacity": "What the layout allows of a device's resource, in its unit.",
    "model_placer_replica_use": "Predicted use of a resource by a model on a device.",
    "model_placer_replica_rate": "Inferences per second that a model carries on a device.",
    "model_placer_replica_latency_seconds": "Predicted latency at the demanded percentile.",
    "model_placer_replica_latency_limit_seconds": "Demanded latency at that percentile.",
    "model_placer_profile_throughput": "Measured inferences per second of a point.",
    "model_placer_profile_latency_seconds": "Measured latency of a point.",
    "model_placer_profile_memory_bytes": "Measured peak memory of a point, the server's part off.",
    "model_placer_profile_utilization_percent": "Measured utilization, the server's part off.",
}


@dataclass(frozen=True)
class Metric:
    """One figure."""

    name: str
    labels: Mapping[str, str]
    value: float


def write(
    servers: Sequence[Server],
    target: Path,
    layout: Layout,
    addresses: Mapping[str, Address],
    measurements: Iterable[Measurement] = (),
) -> None:
    """Write the configuration, the rules, the metrics and the dashboard."""
    metrics = [*of_layout(layout), *of_profiles(measurements)]
    folder.write(target / "prometheus.yml", _yaml(_configuration(servers, addresses)))
    folder.write(target / "rules.yml", _yaml(_rules(metrics)))
    folder.write(target / "model-placer.prom", exposition(metrics))
    folder.write(target / "grafana-dashboard.json", json.dumps(dashboard(), indent=2) + "\n")


def of_layout(layout: Layout) -> Iterator[Metric]:
    """What the layout predicts of devices and of replicas."""
    for device in layout.devices:
        labels = {"device": device.name, "device_type": device.device_type}
        if device.host is not None:
            labels["host"] = device.host
        for name, amounts in (
            ("model_placer_predicted_use", device.uses),
            ("model_placer_capacity", device.capacity),
        ):
            for resource, amount in amounts.items():
                unit = layout.units.get(resource, "")
                yield Metric(name, {**labels, "resource": resource, "unit": unit}, amount)
        for resident in device.residents:
            own = {**labels, "model": resident.model, "option": resident.option}
            yield Metric("model_placer_replica_rate", own, resident.rate)
            for resource, amount in resident.uses.items():
                unit = layout.units.get(resource, "")
                use = {**own, "resource": resource, "unit": unit}
                yield Metric("model_placer_replica_use", use, amount)
            percentile = {**own, "percentile": str(resident.percentile)}
            for name, latency_ms in (
                ("model_placer_replica_latency_seconds", resident.latency_ms),
                ("model_placer_replica_latency_limit_seconds", resident.latency_limit_ms),
            ):
                if latency_ms is not None:
                    yield Metric(name, percentile, latency_ms / 1000)


def of_profiles(measurements: Iterable[Measurement]) -> Iterator[Metric]:
    """What was measured of each point, of the newest files and server."""
    for m in up_to_date(measurements).rows:
        if m.status != "ok":
            continue
        labels = {
            "model": m.model,
            "variant": str(m.variant),
            "load": str(m.load),
            "device_type": m.device_type,
        }
        yield Metric("model_placer_profile_throughput", labels, m.throughput)
        if m.latency is not None:
            for percentile in (50, 90, 95, 99):
                seconds = m.latency.percentile(percentile) / 1000
                with_percentile = {**labels, "percentile": str(percentile)}
                yield Metric("model_placer_profile_latency_seconds", with_percentile, seconds)
        if m.usage is not None:
            memory = float(m.usage.memory_hot_bytes)
            yield Metric("model_placer_profile_memory_bytes", labels, memory)
            if m.usage.utilization_percent is not None:
                utilization = m.usage.utilization_percent
                yield Metric("model_placer_profile_utilization_percent", labels, utilization)


def exposition(metrics: Iterable[Metric]) -> str:
    """The metrics in Prometheus' text format."""
    by_name: dict[str, list[Metric]] = {}
    for metric in metrics:
        by_name.setdefault(metric.name, []).append(metric)
    lines = []
    for name, those in by_name.items():
        lines += [f"# HELP {name} {HELP[name]}", f"# TYPE {name} gauge"]
        for metric in those:
            labels = ",".join(f'{key}="{_escaped(v)}"' for key, v in metric.labels.items())
            lines.append(f"{name}{{{labels}}} {metric.value!r}")
    return "\n".join([*lines, ""])


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _configuration(servers: Sequence[Server], addresses: Mapping[str, Address]) -> dict[str, Any]:
    """A scrape of each server's metrics port, which is the next but one after its HTTP port."""
    targets = []
    for server in servers:
        host, _, port = addresses[server.name].http.rpartition(":")
        device = server.devices[0]
        labels = {
            "server": server.name,
            # A server of several devices tells GPUs apart by their UUID alone.
            "device": device.name if len(server.devices) == 1 else server.name,
            "device_type": device.device_type,
        }
        targets.append({"targets": [f"{host}:{int(port) + 2}"], "labels": labels})
    return {
        "global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "triton", "static_configs": targets}],
    }


def _rules(metrics: Iterable[Metric]) -> dict[str, Any]:
    rules = [
        {
            "record": metric.name,
            "expr": f"vector({metric.value!r})",
            "labels": {key: value for key, value in metric.labels.items() if value},
        }
        for metric in metrics
    ]
    return {"groups": [{"name": "model-placer", "rules": rules}]}


def _yaml(document: Mapping[str, Any]) -> str:
    return "# Written by Model Placer.\n" + yaml.safe_dump(document, sort_keys=False, width=100)


PANELS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (  # title, unit, queries
    (
        "Utilization of devices: predicted and live",
        "percent",
        (
            ('model_placer_predicted_use{resource="utilization"}', "{{device}} predicted"),
            ("100 * avg by (device) (nv_gpu_utilization)", "{{device}} live, GPU"),
            ("100 * avg by (device) (nv_cpu_utilization)", "{{device}} live, CPU"),
        ),
    ),
    (
        "Memory of devices: predicted, allowed and live",
        "bytes",
        (
            ('model_placer_predicted_use{resource="memory"}', "{{device}} predicted"),
            ('model_placer_capacity{resource="memory"}', "{{device}} allowed"),
            ("sum by (device) (nv_gpu_memory_used_bytes)", "{{device}} live, GPU"),
            ("sum by (device) (nv_cpu_memory_used_bytes)", "{{device}} live, CPU"),
        ),
    ),
    (
        "Inferences per second by model: carried by the layout, and live",
        "short",
        (
            ("sum by (model) (model_placer_replica_rate)", "{{model}} predicted"),
            ("sum by (model) (rate(nv_inference_count[1m]))", "{{model}} live"),
        ),
    ),
    (
        "Latency by model and device: predicted, demanded, and live mean in the server",
        "s",
        (
            ("model_placer_replica_latency_seconds", "{{model}} on {{device}} predicted"),
            ("model_placer_replica_latency_limit_seconds", "{{model}} on {{device}} demanded"),
            (
                "sum by (model, device) (rate(nv_inference_request_duration_us[1m])) / 1e6 / "
                "sum by (model, device) (rate(nv_inference_request_success[1m]))",
                "{{model}} on {{device}} live",
            ),
        ),
    ),
    (
        "Part of the time in the server that is spent in the queue",
        "percentunit",
        (
            (
                "sum by (model, device) (rate(nv_inference_queue_duration_us[1m])) / "
                "sum by (model, device) (rate(nv_inference_request_duration_us[1m]))",
                "{{model}} on {{device}}",
            ),
        ),
    ),
    (
        "Failed requests per second",
        "short",
        (
            (
                "sum by (model, device) (rate(nv_inference_request_failure[1m]))",
                "{{model}} on {{device}}",
            ),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """A Grafana dashboard of what was predicted and what is live."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    panels = [
        {
            "id": number + 1,
            "title": title,
            "type": "timeseries",
            "datasource": source,
            "gridPos": {"h": 9, "w": 12, "x": 12 * (number % 2), "y": 9 * (number // 2)},
            "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
            "targets": [
                {
                    "refId": chr(ord("A") + place),
                    "expr": expr,
                    "legendFormat": legend,
                    "datasource": source,
                }
                for place, (expr, legend) in enumerate(queries)
            ],
        }
        for number, (title, unit, queries) in enumerate(PANELS)
    ]
    return {
        "title": "Model Placer: predicted and live",
        "uid": "model-placer",
        "schemaVersion": 39,
        "tags": ["triton", "model-placer"],
        "time": {"from": "now-30m", "to": "now"},
        "refresh": INTERVAL,
        "templating": {
            "list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]
        },
        "panels": panels,
    }
