import threading
import unicodedata
from collections import Counter
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.analysis import MAX_TOKEN_CHARS, STOP_WORDS, Analyzer

ANALYZER = Analyzer()
SPACE = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
anything = st.text(alphabet=st.characters())  # lone surrogates included


@given(anything)
def test_never_raises_and_gives_terms_that_can_be_stored(text: str) -> None:
    for token in ANALYZER.tokens(text):
        assert 0 < len(token) <= MAX_TOKEN_CHARS
        assert not any(character.isspace() for character in token)
        token.encode()


@given(st.text(alphabet=st.characters(codec="latin-1")))
def test_case_does_not_matter(text: str) -> None:
    expected = ANALYZER.tokens(text)
    assert ANALYZER.tokens(text.casefold()) == expected
    assert ANALYZER.tokens(text.upper()) == expected


@given(anything)
def test_normal_forms_do_not_matter(text: str) -> None:
    assert ANALYZER.tokens(unicodedata.normalize("NFC", text)) == ANALYZER.tokens(text)
    assert ANALYZER.tokens(unicodedata.normalize("NFD", text)) == ANALYZER.tokens(text)


@given(anything, anything)
def test_texts_are_analysed_word_by_word(left: str, right: str) -> None:
    assert ANALYZER.tokens(f"{left}\n{right}") == ANALYZER.tokens(left) + ANALYZER.tokens(right)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", []),
        ("Who are you?", []),
        ("We've didn't they’ll", []),
        ("Caroline's paintings", ["carolin", "paint"]),
        ("When did Melanie PAINT a sunrise?", ["melani", "paint", "sunris"]),
        ("[1:56 pm on 8 May, 2023]", ["1", "56", "pm", "8", "may", "2023"]),
        ("state-of-the-art snake_case", ["state", "art", "snake", "case"]),
        ("Café CAFE\u0301 ﬁne Straße", ["cafe", "cafe", "fine", "strass"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("हिन्दी \U00011013\U00011044\U00011037", ["हिन्दी", "\U00011013\U00011044\U00011037"]),  # Brahmi, beyond 0x10000
        ("東京タワー行き", ["東京", "京タ", "タワ", "ワー", "ー行", "行き"]),
        ("x\x00y", ["x", "y"]),
    ],
)
def test_examples(text: str, terms: list[str]) -> None:
    assert ANALYZER.tokens(text) == terms


def test_long_runs_are_cut_alike() -> None:
    assert ANALYZER.tokens("9" * 500) == ANALYZER.tokens("9" * 900)


words = st.sampled_from(["paints", "painted", "running", "café", "हिन्दी", "東京タワー", "the", "x" * 80, "x" * 90, "𑀓𑁄𑀷"])


@given(st.lists(st.tuples(st.sampled_from([SPACE, UUID(int=0)]), anything | st.lists(words).map(" ".join)), max_size=6))
def test_an_index_keeps_the_ids_of_all_terms_whatever_was_indexed_before(texts: list[tuple[UUID, str]]) -> None:
    for namespace, text in texts:
        counts = Counter(Analyzer.term_id(namespace, token) for token in ANALYZER.tokens(text))
        found = ANALYZER.indexed(namespace, text)
        assert found.length == counts.total()
        assert list(zip(found.terms.tolist(), found.tfs.tolist(), strict=True)) == sorted(counts.items())


def test_what_it_remembers_of_words_has_an_end() -> None:
    analyzer, most = Analyzer(), 32_768
    for start in range(0, 3 * most, most // 2):
        analyzer.indexed(SPACE, " ".join(f"word{number}" for number in range(start, start + most // 2)))
        assert len(getattr(analyzer._local, "known", (SPACE, {}))[1]) <= most
    assert analyzer.indexed(SPACE, "word1").terms.tolist() == [Analyzer.term_id(SPACE, "word1")]


def test_stop_words_are_what_the_analyser_compares_with() -> None:
    assert all(word == word.casefold() and word.isalpha() for word in STOP_WORDS)
    assert Analyzer(frozenset()).tokens("the of") == ["the", "of"]


def test_threads_share_one_analyser() -> None:
    text = "running runners ran easily fairness generously " * 50
    expected = ANALYZER.tokens(text)
    wrong: list[int] = []

    def work(number: int) -> None:
        if any(ANALYZER.tokens(text) != expected for _ in range(50)):
            wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@given(anything)
def test_term_ids_fit_a_bigint_and_belong_to_their_namespace(token: str) -> None:
    term = Analyzer.term_id(SPACE, token)
    assert -(2**63) <= term < 2**63
    assert Analyzer.term_id(SPACE.bytes, token) == term
    assert Analyzer.term_id(UUID(int=0), token) != term


def test_term_ids_are_stable() -> None:
    """Stored in indexes: a change of this number is a change of the analyser's name."""
    assert Analyzer.term_id(SPACE, "paint") == 7921077389790781034
