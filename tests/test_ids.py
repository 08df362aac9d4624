"""Identifiers sort by time, and are never made twice, whichever way they are drawn."""

import os
from uuid import UUID

from memoryd.ids import uuid7, uuid7_text


def test_both_ways_make_version_7_in_the_order_of_time() -> None:
    early = uuid7()
    made = [UUID(uuid7_text()) for _ in range(1000)] + [uuid7() for _ in range(1000)]
    assert len(set(made)) == 2000
    assert {(one.version, one.variant) for one in made} == {(7, early.variant)}
    assert min(made).int >> 80 >= early.int >> 80


def test_a_forked_process_draws_others() -> None:
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.write(write, uuid7_text()[-20:].encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(read, 100).decode()
    os.close(read)
    os.close(write)
    assert len(theirs) == 20
    assert theirs != uuid7_text()[-20:]
