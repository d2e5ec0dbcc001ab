"""Grafana's dashboard, made from the definitions of the metrics.

    python -m kintsugi.dashboard        rewrites docker/grafana/dashboards/kintsugi.json

Invariant: a panel per metric, titled with its name in words and described by its meaning; a test says when the file
is not what this makes.
"""

import json
from typing import Any

from kintsugi.settings import CHECKOUT
from schemas.metrics import METRICS, Metric

PATH = CHECKOUT / "docker" / "grafana" / "dashboards" / "kintsugi.json"
_UNITS = {"seconds": "s", "bytes": "Bps", "share": "percentunit", "boolean": "bool_yes_no",
          "seconds since 1970": "dateTimeFromNow"}  # fmt: skip
_WIDTH, _HEIGHT = 8, 7


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    return {
        "uid": "kintsugi",
        "title": "Kintsugi",
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "schemaVersion": 39,
        "panels": [_panel(number, metric) for number, metric in enumerate(METRICS)],
    }


def text() -> str:
    """The file's text."""
    return json.dumps(dashboard(), indent=1) + "\n"


def query(metric: Metric) -> str:
    """PromQL that shows a metric over all instances: rates of counters, the 95th percentile of histograms."""
    by = f" by ({', '.join(metric.labels)})" if metric.labels else ""
    if metric.kind == "counter":
        return f"sum{by} (rate({metric.name}_total[5m]))"
    if metric.kind == "histogram":
        labels = ", ".join(("le", *metric.labels))
        return f"histogram_quantile(0.95, sum by ({labels}) (rate({metric.name}_bucket[5m])))"
    factor = " * 1000" if metric.unit == "seconds since 1970" else ""
    return f"max{by} ({metric.name}){factor}"


def _panel(number: int, metric: Metric) -> dict[str, Any]:
    unit = metric.unit + "/s" if metric.kind == "counter" else metric.unit
    title = metric.name.removeprefix("kintsugi_").replace("_", " ")
    if metric.kind == "histogram":
        title += ", 95th percentile"
    column, row = number % 3, number // 3
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": f"{title[0].upper()}{title[1:]}",
        "description": f"{metric.meaning}. Unit: {unit}.",
        "datasource": {"type": "prometheus", "uid": "prometheus"},
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": _UNITS.get(metric.unit, "short")}, "overrides": []},
        "targets": [{
            "refId": "A",
            "expr": query(metric),
            "legendFormat": " ".join(f"{{{{{label}}}}}" for label in metric.labels) or title,
        }],
    }  # fmt: skip


if __name__ == "__main__":
    PATH.write_text(text())
