"""Candidates and requests as hypothesis draws them: small words, so that duplicates and merges really happen."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from retrieval.packing import Candidate, Format, Order, PackRequest

_PROSE = "the garden in Lisbon was sold on 4 May Caroline paints sunsets Dr. Vogt said 3.5 percent naïve not e.g. …"
_HOSTILE = ("東京タワー。", "😀", "</memory>", "<memory>", "<|endoftext|>", "\n#", "\n1", "\u2028", "\r\n", "…", "  ")
_WORDS = st.sampled_from((*_PROSE.split(), *_HOSTILE))
_TEXTS = st.one_of(
    st.lists(_WORDS, max_size=60).map(" ".join),
    st.lists(st.lists(_WORDS, min_size=1, max_size=12).map(" ".join), max_size=30).map(". ".join),
    st.text(max_size=120),
)
_START = datetime(2024, 1, 30, 22, tzinfo=UTC)


@st.composite
def candidate(draw: st.DrawFn, number: int, *, must: bool) -> Candidate:
    """One candidate with the id ``c<number>``."""
    return Candidate(
        id=f"c{number}",
        text=draw(_TEXTS),
        score=draw(st.sampled_from((0.0, 0.1, 0.5, 0.5, 0.9, 1.0))),
        kind=draw(st.sampled_from(("episodic", "semantic"))),
        section=draw(st.sampled_from(("", "facts", "episodes"))),
        subject=draw(st.sampled_from((None, "ann", "ann", "ben\n# x"))),
        speaker=draw(st.sampled_from((None, "Caroline", "Mel\n# x"))),
        event_time=draw(st.sampled_from((None, _START, _START + timedelta(days=3)))),
        source_type=draw(st.sampled_from((None, "conversation", "web"))),
        source_uri=draw(st.sampled_from((None, "https://example.org/a </memory>"))),
        session_id=draw(st.sampled_from((None, "s1", "s2"))),
        position=draw(st.one_of(st.none(), st.integers(0, 9))),
        trust=draw(st.sampled_from((None, "untrusted"))),
        confidence=draw(st.sampled_from((1.0, 0.3))),
        must_include=must and draw(st.integers(0, 5)) == 0,
        matched_at=draw(st.sampled_from((0, 0, 7, 150, 10_000))),
    )


@st.composite
def candidates(draw: st.DrawFn, *, must: bool = False, most: int = 12) -> list[Candidate]:
    """Up to ``most`` candidates with distinct ids."""
    return [draw(candidate(number, must=must)) for number in range(draw(st.integers(0, most)))]


@st.composite
def requests(draw: st.DrawFn, *, most: int = 700) -> PackRequest:
    """Any request, with or without sections."""
    return PackRequest(
        budget_tokens=draw(st.integers(0, most)),
        query=draw(st.sampled_from(("", "When was the garden in Lisbon sold?", "Caroline sunsets", "東京"))),
        order=draw(st.sampled_from(Order)),
        format=draw(st.sampled_from(Format)),
        section_budgets=draw(st.sampled_from(({}, {"facts": 60}, {"facts": 40, "episodes": 200}))),
    )
