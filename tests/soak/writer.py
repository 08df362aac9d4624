"""A careful client that streams memories into a service that keeps dying, and remembers what it was promised."""

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import httpx

PATIENCE_S = 10.0  # no request may take longer, whatever dies
_SYLLABLES = ("ba", "ke", "lo", "mu", "ri", "ta", "vo", "zi", "du", "fe", "go", "na")
_FILLER = ("the", "kettle", "was", "still", "warm", "when", "somebody", "came", "from", "harbour", "with", "bread", "letters")
_LONG = 700  # words: more than one window of the embedder, so several passages


@dataclass(frozen=True, slots=True)
class Sent:
    """One memory as sent; ``marker`` is a word that no other memory has."""

    external_id: str
    marker: str
    text: str


@dataclass(slots=True)
class Record:
    """What a writer saw. ``acknowledged`` and ``sent`` go by external id."""

    sent: dict[str, Sent] = field(default_factory=dict)
    acknowledged: dict[str, UUID] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    surprises: list[str] = field(default_factory=list)  # anything but 201, 503 with Retry-After, or a lost connection
    slowest_s: float = 0.0


class Writer:
    """Writes single memories and small batches until stopped; sends again what was not answered with 201.

    Retries are safe in one of two ways, chosen by chance: an ``Idempotency-Key``, or the external ids alone. Now and then
    it gives up on a write (whose memories may then be stored or not), and now and then it says an old one again.
    """

    def __init__(self, name: str, url: str, api_key: str, seed: int) -> None:
        self.record = Record()
        self._name = name
        self._chance = random.Random(f"{seed}/{name}")
        self._count = 0
        self._client = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {api_key}"}, timeout=httpx.Timeout(2 * PATIENCE_S)
        )

    def run(self, stop: threading.Event) -> None:
        """Until ``stop``; in a thread of its own."""
        with self._client:
            while not stop.is_set():
                again = self._chance.random() < 0.05 and self.record.acknowledged
                batch = [self._old()] if again else self._new(self._chance.choice((1, 1, 1, 1, 2, 3, 5)))
                self._deliver(batch, stop)
                stop.wait(self._chance.uniform(0.0, 0.06))

    def _new(self, size: int) -> list[Sent]:
        batch = []
        for _ in range(size):
            self._count += 1
            marker = "".join(self._chance.choices(_SYLLABLES, k=6)) + f"x{self._name}{self._count}"
            # Each writer begins with a long one, so that there are some however soon it is stopped.
            words = self._chance.choices(_FILLER, k=_LONG if self._count % 30 == 1 else 12)
            batch.append(Sent(f"{self._name}-{self._count}", marker, f"{marker} {' '.join(words)}"))
        self.record.sent |= {one.external_id: one for one in batch}
        return batch

    def _old(self) -> Sent:
        return self.record.sent[self._chance.choice(list(self.record.acknowledged))]

    def _deliver(self, batch: Sequence[Sent], stop: threading.Event) -> None:
        headers = {"Idempotency-Key": f"{self._name}-{self._chance.getrandbits(64):x}"} if self._chance.random() < 0.5 else {}
        body = {"memories": [{"text": one.text, "external_id": one.external_id} for one in batch]}
        while True:
            pause_s = self._attempt(batch, body, headers)
            if pause_s is None or stop.wait(pause_s) or self._chance.random() < 0.03:
                return

    def _attempt(self, batch: Sequence[Sent], body: dict[str, list[dict[str, str]]], headers: dict[str, str]) -> float | None:
        """Send once; the seconds until the next attempt, or None when it is done."""
        began = time.monotonic()
        try:
            answer = self._client.post("/v1/memories", json=body, headers=headers)
        except httpx.TransportError as error:
            self.record.answers[type(error).__name__] += 1
            if isinstance(error, httpx.TimeoutException):
                self.record.surprises.append(f"no answer at all: {error!r}")
            return 0.2
        finally:
            self.record.slowest_s = max(self.record.slowest_s, time.monotonic() - began)
        self.record.answers[str(answer.status_code)] += 1
        if answer.status_code == httpx.codes.CREATED:
            self._acknowledge(batch, answer.json()["results"])
            return None
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE and "retry-after" in answer.headers:
            return float(answer.headers["retry-after"]) * self._chance.uniform(0.5, 1.0)
        self.record.surprises.append(f"{answer.status_code} {answer.text[:300]}")
        return 0.5

    def _acknowledge(self, batch: Sequence[Sent], results: list[dict[str, str]]) -> None:
        if [one["external_id"] for one in results] != [one.external_id for one in batch]:
            self.record.surprises.append(f"answered for other memories: {results}")
        for one in results:
            known = self.record.acknowledged.setdefault(one["external_id"], UUID(one["id"]))
            if known != UUID(one["id"]):
                self.record.surprises.append(f"{one['external_id']} acknowledged as {known} and as {one['id']}")
