"""Events out of bytes, however these are cut."""

import pytest

from memoryd.client.sse import Event, Events

STREAM = (
    "retry: 2500\n\n: heartbeat\n\nid: 4\nevent: state\ndata: {\"a\":\ndata: 1}\n\n"
    "data: ü\r\nid: 5\r\n\r\nevent: empty\n\nid: 6\revent: last\rdata: x\r\r"
).encode()  # fmt: skip
WANTED = [Event("state", '{"a":\n1}', "4"), Event("message", "ü", "5"), Event("last", "x", "6")]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_in_pieces_of_any_size(size: int) -> None:
    events = Events()
    pieces = [STREAM[at : at + size] for at in range(0, len(STREAM), size)]
    # The last carriage return may be half of a line's end: what comes behind it tells.
    found = [event for piece in [*pieces, b":"] for event in events.feed(piece)]
    assert found == WANTED
    assert events.retry_s == 2.5


def test_an_event_without_its_end_is_none() -> None:
    events = Events("3")
    assert list(events.feed(b"id: 4\ndata: {}\n")) == []
    assert events.last_id == "3"
    assert list(Events("3").feed(b"data: x\n\n")) == [Event("message", "x", "3")]
