"""Counters for Prometheus. Per process; what is in the database is counted when ``/metrics`` is read."""

from prometheus_client import CollectorRegistry, Counter

REGISTRY = CollectorRegistry()
PUSHES = Counter("qunfen_pushes_total", "Verified pushes", ["kind", "outcome"], registry=REGISTRY)
REFUSED = Counter(
    "qunfen_pushes_refused_total", "Requests that were no push", ["reason"], registry=REGISTRY
)
NOT_STORED = Counter(
    "qunfen_pushes_not_stored_total", "Pushes answered 503, to be repeated", registry=REGISTRY
)
CLICKS = Counter("qunfen_clicks_total", "Requests to tracked links", ["outcome"], registry=REGISTRY)
