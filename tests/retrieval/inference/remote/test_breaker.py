"""The breaker's states on a clock of the test's."""

from retrieval.inference.remote.breaker import Breaker, BreakerState


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(failures=3, pause_s=1.0, longest_s=5.0, clock=clock)
    for _ in range(3):
        assert breaker.admit()
        breaker.failed()
    return breaker


def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker(failures=3, clock=Clock())
    for _ in range(5):
        breaker.failed()
        breaker.failed()
        breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED
    assert breaker.wait_s == 0.0


def test_open_it_lets_nobody_in_and_then_one() -> None:
    clock = Clock()
    breaker = opened(clock)
    assert (breaker.state, breaker.admit(), breaker.wait_s) == (BreakerState.OPEN, False, 1.0)
    clock.now += 1.0
    states = [breaker.state]
    assert [breaker.admit() for _ in range(3)] == [True, False, False]
    breaker.succeeded()
    states.append(breaker.state)
    assert states == [BreakerState.HALF_OPEN, BreakerState.CLOSED]
    assert [breaker.admit() for _ in range(3)] == [True, True, True]


def test_each_trial_that_fails_doubles_the_pause_to_a_bound() -> None:
    clock = Clock()
    breaker = opened(clock)
    pauses = []
    for _ in range(4):
        clock.now += breaker.wait_s
        assert breaker.admit()
        breaker.failed()
        pauses.append(breaker.wait_s)
    assert pauses == [2.0, 4.0, 5.0, 5.0]
    clock.now += 5.0
    assert breaker.admit()
    breaker.succeeded()
    for _ in range(3):
        breaker.failed()
    assert breaker.wait_s == 1.0, "a success starts over"


def test_an_abandoned_trial_lets_the_next_one_try() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 1.0
    assert breaker.admit()
    breaker.abandoned()
    assert breaker.admit()


def test_a_server_that_asks_for_rest_gets_it_within_bounds() -> None:
    clock = Clock()
    breaker = Breaker(failures=1, pause_s=1.0, longest_s=5.0, clock=clock)
    breaker.failed(rest_s=3.0)
    assert breaker.wait_s == 3.0
    clock.now += 3.0
    breaker.failed(rest_s=3600.0)
    assert breaker.wait_s == 5.0
    breaker.succeeded()
    breaker.trip()
    assert (breaker.state, breaker.wait_s) == (BreakerState.OPEN, 5.0)
