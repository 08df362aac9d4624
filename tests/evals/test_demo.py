"""The demo's conversation and questions are sound: nothing is measured here, only that they fit together."""

import json
from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

DEMO = Path(__file__).parents[2] / "docs/examples/demo"
ROWS = [json.loads(line) for line in (DEMO / "conversation.jsonl").read_text(encoding="utf-8").splitlines()]
QUESTIONS = json.loads((DEMO / "questions.json").read_text(encoding="utf-8"))


def test_it_is_a_long_conversation_of_two_people_and_their_assistant() -> None:
    assert len(ROWS) >= 220
    assert {row["name"] for row in ROWS} == {"Maya", "Jonas", "Juno"}
    assert all((row["role"] == "assistant") == (row["name"] == "Juno") for row in ROWS)
    assert len({row["session_id"] for row in ROWS}) >= 18


def test_times_only_go_forward_and_sessions_are_contiguous() -> None:
    times = [datetime.fromisoformat(row["event_time"]) for row in ROWS]
    assert all(before < after for before, after in pairwise(times))
    assert times[-1] - times[0] > timedelta(days=200)
    order = [row["session_id"] for row in ROWS]
    changes = sum(before != after for before, after in pairwise(order))
    assert changes == len(set(order)) - 1


def test_the_only_words_said_twice_are_thanks() -> None:
    said = Counter(row["content"] for row in ROWS)
    repeated = {text for text, count in said.items() if count > 1}
    assert repeated == {"Thanks!"}
    days = {row["event_time"][:10] for row in ROWS if row["content"] == "Thanks!"}
    assert len(days) >= 4


def test_questions_point_at_rows_said_before_they_are_asked() -> None:
    for question in QUESTIONS:
        asked = datetime.fromisoformat(question["query_time"])
        rows = question["evidence"] + question["earlier"]
        assert question["evidence"], question["question"]
        assert all(1 <= row <= len(ROWS) for row in rows)
        assert all(datetime.fromisoformat(ROWS[row - 1]["event_time"]) < asked for row in rows)
        assert not set(question["evidence"]) & set(question["earlier"])
