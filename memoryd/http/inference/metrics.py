"""Counters of the inference server in Prometheus' text format (version 0.0.4).

Labels are routes and models, never what was sent.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)


class Metrics:
    """Used on the event loop only."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._requests: Counter[tuple[str, int]] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}
        self._texts: Counter[tuple[str, str]] = Counter()
        self._characters: Counter[tuple[str, str]] = Counter()

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests[route, status] += 1
        buckets = self._buckets.setdefault(route, [0] * (len(_BUCKETS_S) + 1))
        buckets[bisect_left(_BUCKETS_S, seconds)] += 1
        self._seconds[route] = self._seconds.get(route, 0.0) + seconds

    def computed(self, model: str, lane: str, texts: int, characters: int) -> None:
        """Count what a model did."""
        self._texts[model, lane] += texts
        self._characters[model, lane] += characters

    def text(self, *, ready: bool) -> str:
        """Everything, as it is scraped."""
        return "".join(f"{line}\n" for line in self._lines(ready))

    def _lines(self, ready: bool) -> Iterator[str]:
        yield from _head("memoryd_inference_ready", "gauge", "1 when all models are warm.")
        yield f"memoryd_inference_ready {int(ready)}"
        yield from _head("memoryd_inference_requests_in_flight", "gauge", "Requests that wait or are computed.")
        yield f"memoryd_inference_requests_in_flight {self.in_flight}"
        yield from _head(
            "memoryd_inference_requests_total", "counter", "Requests by route and status; 429 was refused at the door."
        )
        for (route, status), count in sorted(self._requests.items()):
            yield f'memoryd_inference_requests_total{{route="{route}",status="{status}"}} {count}'
        yield from _head("memoryd_inference_request_seconds", "histogram", "From the first byte to the answer.")
        for route, buckets in sorted(self._buckets.items()):
            total = 0
            for bound, count in zip((*map(str, _BUCKETS_S), "+Inf"), buckets, strict=True):
                total += count
                yield f'memoryd_inference_request_seconds_bucket{{route="{route}",le="{bound}"}} {total}'
            yield f'memoryd_inference_request_seconds_sum{{route="{route}"}} {self._seconds[route]:.6f}'
            yield f'memoryd_inference_request_seconds_count{{route="{route}"}} {total}'
        yield from _head("memoryd_inference_texts_total", "counter", "Texts embedded, pairs reranked.")
        for (model, lane), count in sorted(self._texts.items()):
            yield f'memoryd_inference_texts_total{{model="{_escaped(model)}",lane="{lane}"}} {count}'
        yield from _head("memoryd_inference_characters_total", "counter", "Their characters.")
        for (model, lane), count in sorted(self._characters.items()):
            yield f'memoryd_inference_characters_total{{model="{_escaped(model)}",lane="{lane}"}} {count}'


def _head(name: str, kind: str, help_: str) -> Iterator[str]:
    yield f"# HELP {name} {help_}"
    yield f"# TYPE {name} {kind}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
