"""When two things said are one memory."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from memoryd.memory.identity import identity
from memoryd.memory.model import Content, Kind

NOW = datetime(2025, 5, 8, 13, 56, tzinfo=UTC)
THANKS = Content(
    kind=Kind.EPISODIC,
    text="thanks!",
    speaker="Maya",
    role="user",
    user_id="maya",
    agent_id=None,
    session_id="s1",
    event_time=None,
    valid_from=None,
    valid_to=None,
    source_type="conversation",
    source_uri=None,
    confidence=1.0,
    topics=(),
    metadata={},
    supersedes=None,
)


def test_said_twice_on_two_days_is_two_memories() -> None:
    assert identity(THANKS, None, NOW) != identity(THANKS, None, NOW + timedelta(days=1))
    timed = replace(THANKS, event_time=NOW)
    assert identity(timed, None, NOW) != identity(replace(timed, event_time=NOW + timedelta(days=1)), None, NOW)


def test_a_retry_is_the_same_memory() -> None:
    assert identity(THANKS, None, NOW) == identity(THANKS, None, NOW + timedelta(seconds=5))
    timed = replace(THANKS, event_time=NOW)
    assert identity(timed, None, NOW) == identity(timed, None, NOW + timedelta(days=40))


def test_a_fact_without_a_time_is_one_fact_for_ever() -> None:
    fact = replace(THANKS, kind=Kind.SEMANTIC)
    assert identity(fact, None, NOW) == identity(fact, None, NOW + timedelta(days=400))


def test_subject_and_session_tell_memories_apart() -> None:
    base = identity(THANKS, None, NOW)
    for other in (
        replace(THANKS, user_id="jonas"),
        replace(THANKS, agent_id="a"),
        replace(THANKS, session_id="s2"),
        replace(THANKS, speaker="Jonas"),
        replace(THANKS, text="thanks"),
        replace(THANKS, user_id=None),
        replace(THANKS, user_id=None, agent_id="maya"),
    ):
        assert identity(other, None, NOW) != base


def test_metadata_confidence_and_source_do_not() -> None:
    other = replace(THANKS, metadata={"a": 1}, confidence=0.1, source_type="import", topics=("x",))
    assert identity(other, None, NOW) == identity(THANKS, None, NOW)


def test_an_external_id_decides_alone() -> None:
    assert identity(THANKS, "1", NOW) == identity(replace(THANKS, text="other"), "1", NOW)
    assert identity(THANKS, "1", NOW) != identity(THANKS, "2", NOW)
    assert identity(THANKS, "1", NOW) != identity(THANKS, None, NOW)
