"""An app with `/metrics` for Prometheus and `/healthz`. It needs the extra `metrics`."""

from collections.abc import Awaitable, Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector, make_asgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from mesh.errors import BadInput
from mesh.metric import ShownMetric
from mesh.web.health import health_answer

_Family = CounterMetricFamily | GaugeMetricFamily


def metrics_app(
    collect: Callable[[], Awaitable[Sequence[ShownMetric]]], trouble: Callable[[], Awaitable[str]]
) -> ASGIApp:
    """Return the app.

    Args:
        collect: returns the metrics as of now; those of several arenas may have one name.
        trouble: returns why the process cannot work now, "" if it can.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        answer: ASGIApp = PlainTextResponse("this server has /metrics and /healthz\n", 404)
        if scope["path"] == "/metrics":
            registry = CollectorRegistry()
            registry.register(_Collected(await collect()))
            ProcessCollector(registry=registry)
            answer = make_asgi_app(registry)
        elif scope["path"] == "/healthz":
            answer = health_answer(await trouble())
        await answer(scope, receive, send)

    return app


def metrics_address(text: str) -> tuple[str, int]:
    """Return host and port of `9101` (loopback), `:9101` (all addresses), `10.0.0.5:9101` or `[::1]:9101`.

    Raises:
        BadInput: it is none of these.
    """
    host, colon, port = text.strip().rpartition(":")
    is_whole = ":" not in host or (host.startswith("[") and host.endswith("]"))
    if not (port.isascii() and port.isdigit() and int(port) < 65536 and is_whole):
        raise BadInput(f"--metrics is {text[:80]!r}; use a port such as 9101, or HOST:PORT such as 0.0.0.0:9101")
    return (host.strip("[]") or "0.0.0.0") if colon else "127.0.0.1", int(port)


class _Collected(Collector):
    """Metrics as the library wants them."""

    def __init__(self, metrics: Iterable[ShownMetric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[_Family]:
        by_name: dict[str, _Family] = {}
        for metric in self._metrics:
            made = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            labels = sorted(metric.samples[0].labels) if metric.samples else []
            family = by_name.get(metric.name)
            if family is None or not family.samples:
                family = by_name[metric.name] = made(metric.name, metric.about, labels=labels)
            for sample in metric.samples:
                family.add_metric([sample.labels[label] for label in labels], sample.value)
        return by_name.values()
