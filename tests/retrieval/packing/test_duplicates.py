"""Duplicates among texts of any length: what is said of them, and how often they are read for it."""

import random
from datetime import UTC, datetime

import pytest

from retrieval.packing import Candidate, DropReason
from retrieval.packing.duplicates import PROBE_CHARS, Duplicates
from retrieval.packing.shingles import SAMPLE, Shingler, likeness

WORDS = [f"{a}{b}" for a in ("ba", "ke", "li", "mo", "nu", "ra", "si", "to") for b in ("dan", "fer", "gol", "him", "jus", "pek")]
HEADER = "Weekly report of the northern branch, for internal use, to all who are concerned. " * 5
FOOTER = "This message may be confidential; if it is not meant for you, tell whoever sent it. " * 5


def prose(seed: int, words: int) -> str:
    draw = random.Random(seed)
    return " ".join(draw.choice(WORDS) for _ in range(words))


def report(seed: int, words: int) -> str:
    return f"{HEADER}{prose(seed, words)} {FOOTER}"


def judged(*texts: str) -> list[DropReason | None]:
    moment = datetime(2023, 5, 8, tzinfo=UTC)
    ranked = [Candidate(id=f"c{i}", text=text, score=1.0, event_time=moment) for i, text in enumerate(texts)]
    duplicates = Duplicates(ranked)
    found = [duplicates.of(i) for i in range(len(ranked))]
    return [None if one is None else one.reason for one in found]


def test_texts_with_common_ends_are_read_once_however_many_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    shingles = Shingler.shingles

    def counted(self: Shingler, text: str) -> frozenset[int]:
        read.append(len(text))
        return shingles(self, text)

    monkeypatch.setattr(Shingler, "shingles", counted)
    texts = [report(seed, 4 * SAMPLE) for seed in range(20)]
    assert judged(*texts) == [None] * 20
    assert sum(read) <= sum(len(text) + 2 * PROBE_CHARS + 1 for text in texts)


@pytest.mark.parametrize("words", [200, 900, 8 * SAMPLE])
def test_a_long_text_is_known_again_by_what_it_says(words: int) -> None:
    text, other = report(1, words), report(2, words)
    changed = text.split(" ")
    for place in range(100, len(changed) - 100, 40):
        changed[place] = "otherwise"
    assert judged(text, other, " ".join(changed), f"{other} Thanks!") == [
        None,
        None,
        DropReason.NEAR_DUPLICATE,
        DropReason.NEAR_DUPLICATE,
    ]


@pytest.mark.parametrize("words", [200, 8 * SAMPLE])
def test_a_number_or_a_negation_makes_another_fact_of_a_long_text_too(words: int) -> None:
    first = f"{HEADER}{prose(1, words)} Paid: 12 of 14. {FOOTER}"
    texts = [first, first.replace("12 of", "13 of"), first.replace("Paid", "Never paid"), first.replace("12 of ", "12 or ")]
    assert judged(*texts) == [None, None, None, DropReason.NEAR_DUPLICATE]


def test_the_larger_part_of_a_long_text_and_a_quotation_of_its_beginning_are_merged() -> None:
    whole = f"{HEADER}{prose(1, 6 * SAMPLE)} {FOOTER}"
    part = f"{HEADER}{prose(1, 4 * SAMPLE)} {FOOTER}"
    assert judged(whole, part, HEADER[:PROBE_CHARS]) == [None, DropReason.MERGED, DropReason.MERGED]
    assert judged(part, whole) == [None, None]


@pytest.mark.parametrize("every", [10, 20, 60, 300])
def test_samples_tell_what_all_shingles_would(every: int) -> None:
    shingler = Shingler()
    text = prose(1, 20_000).split(" ")
    other = ["otherwise" if i % every == 0 else word for i, word in enumerate(text)]
    all_of_it, all_of_other = shingler.shingles(" ".join(text)), shingler.shingles(" ".join(other))
    common = len(all_of_it & all_of_other)
    similarity, share = likeness(shingler.sketch(" ".join(text)), shingler.sketch(" ".join(other)))
    assert similarity == pytest.approx(common / len(all_of_it | all_of_other), abs=0.05)
    assert share == pytest.approx(common / len(all_of_it), abs=0.05)


def test_shingles_are_the_same_in_every_process() -> None:
    assert sorted(Shingler().shingles("We adopted a dog"))[0] == -375777480102106319
