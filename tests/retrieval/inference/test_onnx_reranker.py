import pytest

from retrieval.inference.onnx_reranker import OnnxReranker

QUESTION = "When did Caroline adopt her dog?"
PASSAGES = [
    "The quarterly report is due on Friday.",
    "Caroline: I adopted a puppy from the shelter on May 3rd!",
    "Melanie painted a sunset over the lake.",
    "Caroline said she loves dogs. " * 60,
    "",
]


def test_what_answers_is_ranked_above_what_does_not(reranker: OnnxReranker) -> None:
    scores = reranker.score([(QUESTION, passage) for passage in PASSAGES])
    assert max(range(len(scores)), key=scores.__getitem__) == 1
    assert all(0.0 <= score <= 1.0 for score in scores)
    assert scores[1] > 0.5 > scores[0]
    assert reranker.score([]) == []


def test_a_score_does_not_depend_on_company_or_order(reranker: OnnxReranker) -> None:
    pairs = [(QUESTION, passage) for passage in PASSAGES]
    together = reranker.score(pairs)
    assert reranker.score(pairs[::-1])[::-1] == pytest.approx(together, abs=1e-6)
    assert [reranker.score([pair])[0] for pair in pairs] == pytest.approx(together, abs=1e-6)


def test_pairs_are_cut_and_the_question_survives(reranker: OnnxReranker) -> None:
    answer = "I adopted a puppy from the shelter on May 3rd! " * 100
    noise = "The quarterly report is due on Friday. " * 100
    right, longer, wrong = reranker.score([(QUESTION, answer), (QUESTION, answer + noise), (QUESTION, noise)])
    assert right == longer  # cut at the same token
    assert right > wrong
    assert reranker.max_pair_tokens == 256
