"""Sentences, and what of a text is shown for a query."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.packing import Extractor
from retrieval.packing.renditions import EXCERPT_CHARS
from retrieval.packing.sentences import MAX_SENTENCE_CHARS, split

FILLER = "The weather that afternoon was mild and nothing much happened in the village. "
TEXT = FILLER * 3 + "Caroline sold her garden in Lisbon on 4 May. She cried. " + FILLER * 12


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Hi! How are you? Fine.", ["Hi!", "How are you?", "Fine."]),
        ("Dr. Vogt paid 3.50 euros, e.g. for tea. OK.", ["Dr. Vogt paid 3.50 euros, e.g. for tea.", "OK."]),
        ("J. R. Smith came. It was I. We left.", ["J. R. Smith came.", "It was I.", "We left."]),
        ('She said "no." Then she left.', ['She said "no."', "Then she left."]),
        ("See no. 5 there. He said no. Fine.", ["See no. 5 there.", "He said no.", "Fine."]),
        ("one line\nanother line\r\n\r\na third", ["one line", "another line", "a third"]),
        ("今日は晴れ。明日は雨！そうですか？", ["今日は晴れ。", "明日は雨！", "そうですか？"]),
        ("Well... maybe. Yes", ["Well...", "maybe.", "Yes"]),
        (" \n ", []),
        ("", []),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert [text[start:end] for start, end in split(text)] == sentences


@given(st.text(max_size=600) | st.integers(200, 900).map(lambda n: "x" * n) | st.integers(1, 300).map(lambda n: "é̂" * n))
def test_sentences_cover_all_but_white_space_in_order(text: str) -> None:
    spans = split(text)
    gaps = [0, *(place for span in spans for place in span), len(text)]
    assert gaps == sorted(gaps)
    assert all(0 < end - start <= MAX_SENTENCE_CHARS for start, end in spans)
    assert not "".join(text[a:b] for a, b in zip(gaps[::2], gaps[1::2], strict=True)).strip()


def shown(extractor: Extractor, text: str) -> tuple[list[str], list[str]]:
    extracts = extractor.extract(text)
    gist = extracts.gist.spans if extracts.gist else ()
    excerpt = extracts.excerpts[0].spans if extracts.excerpts else ()
    return ([text[a:b] for a, b in gist], [text[a:b] for a, b in excerpt])


def test_the_gist_is_the_sentence_about_the_query_and_the_excerpt_surrounds_it() -> None:
    gist, excerpt = shown(Extractor("When was the garden in Lisbon sold?"), TEXT)
    assert gist == ["Caroline sold her garden in Lisbon on 4 May."]
    assert len(excerpt) == 1
    assert gist[0] in excerpt[0]
    assert len(gist[0]) < len(excerpt[0]) <= EXCERPT_CHARS


def test_given_weights_and_a_given_scorer_decide() -> None:
    text = TEXT + "The harbour burned down."
    assert shown(Extractor("garden", {"harbour": 2.0, "garden": 1.0}), text)[0] == ["The harbour burned down."]

    def by_length(query: str, sentences: Sequence[str]) -> list[float]:
        return [-float(len(sentence)) for sentence in sentences]

    assert shown(Extractor("garden", scorer=by_length), text)[0] == ["She cried."]


def test_a_long_text_is_searched_to_its_end() -> None:
    text = FILLER * 60 + "Caroline sold her garden in Lisbon. " + FILLER * 60
    assert shown(Extractor("the garden in Lisbon"), text)[0] == ["Caroline sold her garden in Lisbon."]
    assert shown(Extractor("İstanbul"), "İ" * 50 + ". " + FILLER * 60)[0] != []


def test_growing_excerpts_stay_around_the_same_place_and_show_ever_more() -> None:
    text = FILLER * 60 + "Caroline sold her garden in Lisbon. " + FILLER * 60
    extractor = Extractor("the garden in Lisbon")
    (once,) = extractor.extract(text).excerpts
    grown = extractor.extract(text, growing=True).excerpts
    assert len(grown) >= 4
    sizes = [end - start for ((start, end),) in (part.spans for part in grown)]
    assert all(larger > 1.5 * smaller for smaller, larger in pairwise(sizes))
    for part in (once, *grown):
        ((start, end),) = part.spans
        assert "Caroline sold her garden in Lisbon." in text[start:end]
        assert part.terms == 1.0


def test_a_part_knows_its_share_of_the_terms() -> None:
    text = "She has a garden. " + FILLER * 10 + "The house in Lisbon has one too. " + FILLER * 10
    extracts = Extractor("garden Lisbon house").extract(text)
    assert extracts.gist is not None
    assert extracts.gist.terms == pytest.approx(2 / 3)
    assert Extractor("zebra").extract(text).gist.terms is None  # type: ignore[union-attr]


def test_without_overlap_the_beginning_is_shown() -> None:
    assert shown(Extractor("zebra"), "First things first. " + TEXT)[0] == ["First things first."]


PASSAGES = "Nothing of note. " * 120 + "Her greyhound limps since the fall. " + "It was mild. " * 150


def test_without_overlap_the_passage_that_was_found_is_shown() -> None:
    found = PASSAGES.index("Her greyhound")
    for query in ("", "Is the pet hurt?"):
        extracts = Extractor(query).extract(PASSAGES, matched_at=found)
        assert extracts.gist is not None
        assert [PASSAGES[a:b] for a, b in extracts.gist.spans] == ["Her greyhound limps since the fall."]
        assert all("Her greyhound limps" in PASSAGES[a:b] for part in extracts.excerpts for a, b in part.spans)
    growing = Extractor("Is the pet hurt?").extract(PASSAGES, matched_at=found, growing=True).excerpts
    assert len(growing) > 1
    assert all(a <= found < b for part in growing for a, b in part.spans)


def test_code_far_behind_the_passage_that_was_found_does_not_stand_for_it() -> None:
    prose = f"{'Nothing of note. ' * 30}Her greyhound limps since the fall. {'It was mild. ' * 35}"
    text = f"{prose}\n\n```\ndef handler(x):\n    return x\n```\n"
    for of, query, at, shown in (
        (text, "Is the pet hurt?", "Her greyhound", "Her greyhound limps since the fall."),
        (CODE, "zebra", "def halt", "def halt(self) -> None:"),
    ):
        extracts = Extractor(query).extract(of, matched_at=of.index(at))
        assert extracts.gist is not None
        assert [of[a:b].strip() for a, b in extracts.gist.spans] == [shown]


def test_of_places_with_the_same_words_the_one_that_was_found_is_shown() -> None:
    text = f"The dog barked. {PASSAGES} The dog slept. {PASSAGES}"
    for at, shown in ((0, "The dog barked."), (text.index("The dog slept."), "The dog slept.")):
        extracts = Extractor("dog").extract(text, matched_at=at)
        assert extracts.gist is not None
        assert [text[a:b] for a, b in extracts.gist.spans] == [shown]
    words = f"{text} The dog and the cat played."
    extracts = Extractor("dog cat").extract(words, matched_at=text.index("The dog slept."))
    assert extracts.gist is not None
    assert "cat played" in words[extracts.gist.spans[-1].start : extracts.gist.spans[-1].end], "words tell more"


def test_a_short_text_has_only_its_full_rendition() -> None:
    extracts = Extractor("garden").extract("  A garden. \n")
    assert (extracts.gist, extracts.excerpts) == (None, ())
    assert extracts.full == ((2, 11),)


def test_chinese_and_japanese_queries_match_inside_words() -> None:
    text = "天気はとても良かったです。" * 20 + "彼女は東京タワーを見た。" + "それだけでした。" * 20
    assert shown(Extractor("東京タワーはどこ"), text)[0] == ["彼女は東京タワーを見た。"]


HEADER = "| Model | Price | Stock |"
TABLE = f"{HEADER}\n| --- | --- | --- |\n" + "\n".join(f"| Boiler {n} | {n * 100} EUR | {n} pieces |" for n in range(60))
CODE = (
    "import os\n\n\nclass Machine:\n    def start(self, speed: int) -> None:\n        self.speed = speed\n"
    "        self.motor.on()\n"
    "        for wheel in self.wheels:\n            wheel.turn(speed)\n\n    def halt(self) -> None:\n        self.motor.off()\n"
    "        for wheel in self.wheels:\n            wheel.hold()\n\n\ndef build(parts):\n    return Machine(parts)\n"
)


def test_rows_of_a_table_are_shown_with_its_header() -> None:
    gist, excerpt = shown(Extractor("What about 5100?"), TABLE)
    assert gist == [HEADER, "| Boiler 51 | 5100 EUR | 51 pieces |"]
    assert excerpt[0] == HEADER
    assert "Boiler 51" in excerpt[1]
    first, _ = shown(Extractor("Which model?"), "Prices of this year.\n\n" + TABLE)
    assert first[0] == HEADER


def test_a_table_about_nothing_asked_is_told_by_its_header_and_first_row() -> None:
    gist, _ = shown(Extractor("zebra"), TABLE)
    assert gist == [HEADER, "| Boiler 0 | 0 EUR | 0 pieces |"]
    captioned, _ = shown(Extractor("zebra"), "Prices of this year.\n\n" + TABLE)
    assert captioned == ["Prices of this year."]


def test_prose_behind_a_table_and_wide_headers_stand_alone() -> None:
    gist, _ = shown(Extractor("garden in Lisbon"), f"{TABLE}\n\n{TEXT}")
    assert gist == ["Caroline sold her garden in Lisbon on 4 May."]
    wide = TABLE.replace("Price", "Price " * 60)
    assert shown(Extractor("5100"), wide)[0] == ["| Boiler 51 | 5100 EUR | 51 pieces |"]


def test_code_about_nothing_asked_is_told_by_what_it_defines() -> None:
    gist, _ = shown(Extractor("zebra"), CODE)
    assert (
        " ".join(" ".join(gist).split())
        == "class Machine: def start(self, speed: int) -> None: def halt(self) -> None: def build(parts):"
    )
    gist, _ = shown(Extractor("How is it halted, and the motor turned off?"), CODE)
    assert any("halt" in line or "motor.off" in line for line in gist)


@given(st.text(alphabet="|- a\n:.", max_size=900), st.sampled_from(["", "a", "zebra"]))
def test_spans_of_anything_like_a_table_are_in_order_and_apart(text: str, query: str) -> None:
    extracts = Extractor(query).extract(text, growing=True)
    for spans in (extracts.gist.spans if extracts.gist else (), *(part.spans for part in extracts.excerpts)):
        places = [place for span in spans for place in span]
        assert places == sorted(places)
