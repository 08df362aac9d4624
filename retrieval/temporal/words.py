"""The words and pattern pieces that the rules share."""

from __future__ import annotations

import re

from retrieval.temporal.bounds import Unit

_FOLD = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)} | {
    ord("\u00a0"): ord(" "),
    ord("\u2010"): ord("-"),
    ord("\u2011"): ord("-"),
    ord("\u2012"): ord("-"),
    ord("\u2013"): ord("-"),
    ord("\u2014"): ord("-"),
    ord("\u2019"): ord("'"),
}

_ORDINALS = ("first", "second", "third", "fourth")
_CARDINALS = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_SEASONS = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12}

# Every repetition is bounded: a match costs a constant, and a scan is linear in the text.
SPACE = r"\s{1,3}"
MONTH = (
    r"\b(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|"
    r"oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b"
)
WEEKDAY = r"\b(?:mon(?:day)?|tue(?:s(?:day)?)?|wed(?:nesday)?|thu(?:r(?:s(?:day)?)?)?|fri(?:day)?|saturday|sunday)\b"
SEASON = r"(?:spring|summer|autumn|fall|winter)\b"
NUMBER_START = r"(?<![\w./\-$€£#])"
NUMBER_END = r"(?!\w|[./:\-][0-9]|%)"
# "in 2023 people" and "before 2000 miles" count things.
COUNTED = (
    r"(?!\s{1,3}(?:people|persons|users|members|patients|men|women|children|cases|words|tokens|items|pieces|copies|"
    r"steps|times|points|miles|km|kilometers|kilometres|meters|metres|feet|dollars|euros|pounds|kg|calories|"
    r"hours|minutes|seconds|days|weeks|months|years)\b)"
)
YEAR = rf"[12][0-9]{{3}}{NUMBER_END}{COUNTED}"
DAY_NUMBER = r"(?:0?[1-9]|[12][0-9]|3[01])"
UNIT = r"(?:hour|day|weekend|week|month|quarter|year|decade)"
AMOUNT = (
    r"(?:(?:a|the)\s{1,3})?couple(?:\s{1,3}of)?|(?:a\s{1,3})?few|several|an?|"
    rf"{'|'.join(_CARDINALS[1:])}|[0-9]{{1,4}}"
)


def fold(text: str) -> str:
    """ASCII lower case, plain hyphens and apostrophes; character ``i`` of the answer stands for ``text[i]``."""
    return text.translate(_FOLD)


def month_number(word: str) -> int:
    """1 to 12 for a month's name or its short form."""
    return _MONTHS.index(word[:3]) + 1


def weekday_number(word: str) -> int:
    """0 for Monday to 6 for Sunday."""
    return _WEEKDAYS.index(word[:3])


def season_month(word: str) -> int:
    """The month a season begins in."""
    return _SEASONS[word]


def ordinal(word: str) -> int:
    """1 to 4 for "first" or "1st" and so on, 0 for "last"."""
    return 0 if word == "last" else int(word[0]) if word[0].isdigit() else _ORDINALS.index(word) + 1


def amount(words: str) -> tuple[int, int]:
    """The least and the greatest number that ``words`` (what ``AMOUNT`` matched) may mean: "a few" is 2 to 5."""
    if "few" in words:
        return 2, 5
    if "couple" in words:
        return 2, 3
    if words == "several":
        return 3, 7
    if words in _CARDINALS:
        return (_CARDINALS.index(words),) * 2
    return (int(words),) * 2 if re.fullmatch("[0-9]+", words) else (1, 1)


def unit(word: str) -> Unit:
    """The unit, singular or plural."""
    return Unit(word.removesuffix("s"))
