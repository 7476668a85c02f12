"""Metrics in Prometheus' text form (docs/api.md, `GET /metrics`).

Decides how each metric is named and described. Never measures anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PREFIX: Final = "leither_"

_METRICS: Final = {
    "accounts": "Accounts in this node's group.",
    "api_connections": "Open connections to the API.",
    "api_errors_total": "Answers of the API with a status of 400 or more.",
    "api_requests_total": "Requests to the API.",
    "commit_failures_total": "Commits to the store that failed.",
    "commits_total": "Commits to the store.",
    "events_queued": "Requests that wait for the next turn.",
    "healthy": "1 if the node does its work, 0 if /v1/status has reasons why not.",
    "late_ms": "How late the last tick came, in milliseconds.",
    "memory_anonymous_bytes": "Anonymous memory of the process.",
    "memory_resident_bytes": "Resident memory of the process.",
    "peer_received_bytes_total": "Bytes that came from other nodes.",
    "peer_sent_bytes_total": "Bytes that were sent to other nodes.",
    "pulse": "The newest sealed pulse.",
    "requests_refused_total": "Requests that the node's turns refused.",
    "requests_total": "Requests that the node's turns took.",
    "store_bytes": "Bytes that the store takes on the disk.",
    "tick": "Pulse cycles since genesis.",
    "turns_total": "Turns of the node.",
    "written_bytes_total": "Bytes written to the store since the start.",
}


def metrics_text(values: Mapping[str, int]) -> str:
    """Each metric with its help and its kind, in the order of their names."""
    lines = []
    for name, value in sorted(values.items()):
        told = _METRICS.get(name, name.replace("_", " ").capitalize() + ".")
        kind = "counter" if name.endswith("_total") else "gauge"
        lines.append(f"# HELP {PREFIX}{name} {told}\n# TYPE {PREFIX}{name} {kind}\n{PREFIX}{name} {value}\n")
    return "".join(lines)
