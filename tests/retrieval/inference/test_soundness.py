"""A model that fails on everything is not mistaken for inputs that it fails on, nor the other way round."""

import asyncio

import pytest

from retrieval.errors import InferenceError, InferenceUnavailable
from retrieval.inference import soundness
from retrieval.inference.batches import BatchLimits, Throughput
from retrieval.inference.lanes import LaneQueue
from retrieval.inference.soundness import TEXT, Soundness
from retrieval.ports import Lane
from tests.retrieval.inference.held import HeldEmbedder, LengthReranker, running
from tests.retrieval.inference.test_lanes import Caller, LengthModel, step


class MortalModel(LengthModel):
    """Fails on everything while it is ``dead``."""

    dead = False

    def failing(self, row: str) -> bool:
        return self.dead or super().failing(row)


def lane(model: LengthModel, failures: list[None]) -> LaneQueue[str, str]:
    sound = Soundness(TEXT, lambda: failures.append(None))
    return LaneQueue(model, limits=BatchLimits(items=8, tokens=512), throughput=Throughput(), soundness=sound)


def test_a_model_that_fails_on_everything_is_unavailable_until_it_computes_again() -> None:
    model, failures = MortalModel(), list[None]()
    queue = lane(model, failures)
    model.dead = True
    callers = [Caller() for _ in range(20)]
    for caller in callers:
        queue.add(caller.job("fine", "also fine"))
    while queue.waiting:
        step(queue)
    assert {type(error) for caller in callers for error in caller.errors} == {InferenceUnavailable}
    assert all(isinstance(caller.errors[0].__cause__, ValueError) for caller in callers)
    assert [len(run) for run in model.runs] == [8, 1] * 5, "a batch and the probe, and no search for who is at fault"
    assert (queue.sound, len(failures)) == (False, 1)
    model.dead = False
    last = Caller()
    queue.add(last.job("fine"))
    step(queue)
    assert last.results
    assert queue.sound


def test_jobs_of_poisoned_inputs_alone_take_nobody_down() -> None:
    model, failures = MortalModel(), list[None]()
    queue = lane(model, failures)
    callers = [Caller() for _ in range(20)]
    for caller in callers:
        queue.add(caller.job("poison", "poison"))
        while queue.waiting:
            step(queue)
    assert {type(error) for caller in callers for error in caller.errors} == {InferenceError}
    assert model.runs.count([TEXT]) == len(callers), "once a batch"
    assert (queue.sound, failures) == (True, [])


def test_memory_that_does_not_suffice_for_one_input_is_not_its_fault() -> None:
    model, failures = LengthModel(memory=50), list[None]()
    queue = lane(model, failures)
    for memory, sound in ((50, True), (0, False)):
        model.memory = memory
        caller = Caller()
        queue.add(caller.job("x" * 60))
        step(queue)
        assert isinstance(caller.errors[0], InferenceUnavailable)
        assert isinstance(caller.errors[0].__cause__, MemoryError)
        assert queue.sound is sound


async def test_a_runtime_is_unhealthy_until_every_model_computes_again_though_nobody_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(soundness, "_again_s", 0.01)
    backend = HeldEmbedder()
    async with running(backend) as runtime:
        assert (await runtime.embed_queries(["fine"])).shape == (1, 2)
        for _ in range(2):
            backend.dead = True
            for ask in (
                runtime.embed_queries(["fine"]),
                runtime.embed_passages(["fine"], lane=Lane.BULK),
                runtime.score("fine", ["fine"]),
            ):
                with pytest.raises(InferenceUnavailable):
                    await ask
            assert not runtime.healthy
            await asyncio.sleep(0.05)
            assert not runtime.healthy
            backend.dead = False
            async with asyncio.timeout(5):
                while not runtime.healthy:  # noqa: ASYNC110 - nothing else tells
                    await asyncio.sleep(0.01)
        backend.dead = True
        with pytest.raises(InferenceUnavailable):
            await runtime.embed_queries(["fine"])
    assert not runtime.healthy


async def test_a_reranker_that_fails_on_everything_says_nothing_of_the_embedder(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(HeldEmbedder()) as runtime:
        assert (runtime.embeds, runtime.reranks, runtime.healthy) == (True, True, True)

        def dead(_self: object, _pairs: object) -> list[float]:
            raise ValueError("dead")

        monkeypatch.setattr(LengthReranker, "score", dead)
        with pytest.raises(InferenceUnavailable):
            await runtime.score("fine", ["fine"])
        assert (runtime.embeds, runtime.reranks, runtime.healthy) == (True, False, False)
        assert (await runtime.embed_queries(["fine"])).shape == (1, 2)


async def test_what_is_asked_again_is_asked_whatever_went_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soundness, "_again_s", 0.001)
    sound = Soundness(TEXT, lambda: None)
    sound.failed(ValueError("dead"))
    errors: list[Exception] = [InferenceError("still"), RuntimeError("a queue that is closed")]

    async def ask() -> None:
        if errors:
            raise errors.pop(0)
        sound.succeeded()

    async with asyncio.timeout(5):
        await soundness.tended([(sound, ask)])
    assert sound.sound
