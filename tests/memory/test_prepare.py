"""Where texts wait to be embedded."""

from memoryd.memory.prepare import lane_for
from retrieval.ports import Lane


def test_short_writes_are_somebody_waiting_and_long_ones_a_load() -> None:
    assert lane_for(["one turn"]) is Lane.INTERACTIVE
    assert lane_for(["a short text"] * 20) is Lane.INTERACTIVE
    assert lane_for(["x" * 150_000]) is Lane.BULK
    assert lane_for(["a turn of some length, said twice"] * 400) is Lane.BULK
