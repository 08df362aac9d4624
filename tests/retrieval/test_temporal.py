"""What the rules understand, and what they must leave alone."""

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from retrieval.temporal import MAX_INTERVALS, Precision, find_intervals, read_times, wants_recent

NOW = datetime(2023, 5, 17, 9, 30, tzinfo=UTC)  # a Wednesday


def days(query: str, now: datetime | None = NOW) -> list[tuple[str, str]]:
    """Each interval as its first and its last day."""
    return [
        (found.start.date().isoformat(), (found.end - timedelta(days=1)).date().isoformat())
        for found in find_intervals(query, now)
    ]


def one_day(day: str) -> tuple[str, str]:
    return day, day


@pytest.mark.parametrize(
    ("phrase", "first", "last"),
    [
        ("today", "2023-05-17", "2023-05-17"),
        ("this morning", "2023-05-17", "2023-05-17"),
        ("yesterday", "2023-05-16", "2023-05-16"),
        ("last night", "2023-05-16", "2023-05-16"),
        ("the day before yesterday", "2023-05-15", "2023-05-15"),
        ("tomorrow", "2023-05-18", "2023-05-18"),
        ("the day after tomorrow", "2023-05-19", "2023-05-19"),
        ("this week", "2023-05-15", "2023-05-21"),
        ("last week", "2023-05-08", "2023-05-14"),
        ("next week", "2023-05-22", "2023-05-28"),
        ("the week before last", "2023-05-01", "2023-05-07"),
        ("the past week", "2023-05-10", "2023-05-17"),
        ("this weekend", "2023-05-20", "2023-05-21"),
        ("last weekend", "2023-05-13", "2023-05-14"),
        ("this past weekend", "2023-05-13", "2023-05-14"),
        ("early yesterday", "2023-05-16", "2023-05-16"),
        ("last month", "2023-04-01", "2023-04-30"),
        ("over the last month", "2023-04-17", "2023-05-17"),
        ("next month", "2023-06-01", "2023-06-30"),
        ("last quarter", "2023-01-01", "2023-03-31"),
        ("this year", "2023-01-01", "2023-12-31"),
        ("last year's trip", "2022-01-01", "2022-12-31"),
        ("earlier this year", "2023-01-01", "2023-05-17"),
        ("early this year", "2023-01-01", "2023-04-30"),
        ("the end of last month", "2023-04-21", "2023-04-30"),
        ("the last 3 days", "2023-05-14", "2023-05-17"),
        ("the past two weeks", "2023-05-03", "2023-05-17"),
        ("the last couple of years", "2020-05-17", "2023-05-17"),
        ("the next two weeks", "2023-05-17", "2023-05-31"),
        ("2 days ago", "2023-05-15", "2023-05-15"),
        ("an hour ago", "2023-05-17", "2023-05-17"),
        ("a week ago", "2023-05-08", "2023-05-14"),
        ("two months ago", "2023-03-01", "2023-03-31"),
        ("a few days ago", "2023-05-12", "2023-05-15"),
        ("half a year ago", "2022-11-01", "2022-11-30"),
        ("four years ago", "2019-01-01", "2019-12-31"),
        ("last Monday", "2023-05-15", "2023-05-15"),
        ("last Wednesday", "2023-05-10", "2023-05-10"),
        ("on Wednesday", "2023-05-17", "2023-05-17"),
        ("on Friday", "2023-05-12", "2023-05-12"),
        ("this Tuesday", "2023-05-16", "2023-05-16"),
        ("next Wednesday", "2023-05-24", "2023-05-24"),
        ("in May", "2023-05-01", "2023-05-31"),
        ("in June", "2022-06-01", "2022-06-30"),
        ("last May", "2022-05-01", "2022-05-31"),
        ("next March", "2024-03-01", "2024-03-31"),
        ("on May 8", "2023-05-08", "2023-05-08"),
        ("on the 20th of May", "2022-05-20", "2022-05-20"),
        ("on the 15th?", "2023-05-15", "2023-05-15"),
        ("on the 31st", "2023-03-31", "2023-03-31"),
        ("on 29 February", "2020-02-29", "2020-02-29"),
        ("last summer", "2022-06-01", "2022-08-31"),
        ("last winter", "2022-12-01", "2023-02-28"),
        ("during the spring", "2023-03-01", "2023-05-31"),
        ("in Q4", "2022-10-01", "2022-12-31"),
        ("second week of November", "2022-11-08", "2022-11-14"),
        ("from March to May", "2023-03-01", "2023-05-31"),
        ("between November and February", "2022-11-01", "2023-02-28"),
        ("since last Monday", "2023-05-15", "2023-05-17"),
        ("since June", "2022-06-01", "2023-05-17"),
    ],
)
def test_a_phrase_is_an_interval_relative_to_the_question(phrase: str, first: str, last: str) -> None:
    assert days(f"What did she paint {phrase}") == [(first, last)]


@pytest.mark.parametrize(
    ("phrase", "first", "last"),
    [
        ("8 May, 2023", "2023-05-08", "2023-05-08"),
        ("8th of May 2023", "2023-05-08", "2023-05-08"),
        ("May 8 2023", "2023-05-08", "2023-05-08"),
        ("December 1,2023", "2023-12-01", "2023-12-01"),
        ("Sept. 3rd, 2023", "2023-09-03", "2023-09-03"),
        ("Monday, May 8, 2023", "2023-05-08", "2023-05-08"),
        ("last Friday on 23 January, 2022", "2022-01-23", "2022-01-23"),
        ("2023-05-08", "2023-05-08", "2023-05-08"),
        ("2023-05-08T10:00:00Z", "2023-05-08", "2023-05-08"),
        ("2024/02/29", "2024-02-29", "2024-02-29"),
        ("05/08/2023", "2023-05-08", "2023-05-08"),
        ("25/12/2022", "2022-12-25", "2022-12-25"),
        ("May 3–7, 2023", "2023-05-03", "2023-05-07"),
        ("in May 2023", "2023-05-01", "2023-05-31"),
        ("in 2023", "2023-01-01", "2023-12-31"),
        ("early 2023", "2023-01-01", "2023-04-30"),
        ("mid-2023", "2023-05-01", "2023-08-31"),
        ("late 2023", "2023-09-01", "2023-12-31"),
        ("in the first half of 2022", "2022-01-01", "2022-06-30"),
        ("the first half of September 2022", "2022-09-01", "2022-09-15"),
        ("the last week of May 2023", "2023-05-25", "2023-05-31"),
        ("the beginning of November 2022", "2022-11-01", "2022-11-10"),
        ("summer 2022", "2022-06-01", "2022-08-31"),
        ("the winter of 2022", "2022-12-01", "2023-02-28"),
        ("Q3 2023", "2023-07-01", "2023-09-30"),
        ("2023-Q3", "2023-07-01", "2023-09-30"),
        ("the third quarter of 2022", "2022-07-01", "2022-09-30"),
        ("in the 90s", "1990-01-01", "1999-12-31"),
        ("in the 1800's", "1800-01-01", "1899-12-31"),
        ("between 2009 and 2014", "2009-01-01", "2014-12-31"),
        ("from 2009-2014", "2009-01-01", "2014-12-31"),
        ("between August 11 and August 15 2023", "2023-08-11", "2023-08-15"),
        ("from November 30, 2022 to March 2", "2022-11-30", "2023-03-02"),
        ("from the end of May 2022 to early 2023", "2022-05-21", "2023-04-30"),
        ("the week before August 3, 2023", "2023-07-27", "2023-08-02"),
        ("two days after August 3, 2023", "2023-08-05", "2023-08-05"),
        ("two weeks before August 11, 2023", "2023-07-25", "2023-07-31"),
        ("the Sunday before October 25, 2022", "2022-10-23", "2022-10-23"),
        ("last weekend before April 10, 2023", "2023-04-08", "2023-04-09"),
    ],
)
def test_a_calendar_phrase_needs_no_query_time(phrase: str, first: str, last: str) -> None:
    assert days(f"What did she paint {phrase}?", None) == [(first, last)]
    assert days(f"What did she paint {phrase}?") == [(first, last)]


@pytest.mark.parametrize(
    "query",
    [
        "What may I do?",
        "May I ask what may 8 people do?",
        "How long did they march on?",
        "How far can you march 5 miles?",
        "Wait a second, who sat in the sun?",
        "We met who on sat?",
        "Which 2023 people came?",
        "Who in 2023 people was hungry?",
        "Is release 2023.05.1 out, or v2023-05?",
        "Which film cost 2000 dollars, and who paid $2000?",
        "What was the last book she read?",
        "What happened on the last day of the trip?",
        "What did he do in the last week of the trip?",
        "What did the next week bring?",
        "What happened after June left?",
        "Who was sad in April Ludgate's office?",
        "What was cooked in June's kitchen?",
        "Did a letter from May arrive?",
        "What did April, June and May do?",
        "Who sings Home Alone Tonight?",
        "Was it 999999999 years ago, or 9999 years ago?",
        "What happened on 30 February 2023 and 2023-13-01?",
        "Who died in the fall of the empire?",
        "The 20th president met the 39th vice president.",
        "The ratio is 05/08 and the time 12:30.",
        "",
    ],
)
def test_what_is_not_a_time_is_left_alone(query: str) -> None:
    report = read_times(query, NOW)
    assert report.intervals == ()
    assert report.unresolved == ()


def test_relative_phrases_are_reported_but_not_guessed_without_a_query_time() -> None:
    report = read_times("On 8 May 2022 and last week, what changed in May?", None)
    assert [found.phrase for found in report.intervals] == ["8 May 2022"]
    assert report.unresolved == ("last week", "May")


def test_a_list_shares_its_year_and_its_preposition() -> None:
    assert days("in May and June 2022", None) == [("2022-05-01", "2022-05-31"), ("2022-06-01", "2022-06-30")]
    assert [first for first, _ in days("in 2019, 2020 and 2021")] == ["2019-01-01", "2020-01-01", "2021-01-01"]


def test_an_open_interval_has_one_end() -> None:
    [before] = find_intervals("before 2020", NOW)
    [after] = find_intervals("after May 5", NOW)
    [until] = find_intervals("by July 10, 2022", None)
    assert before.precision is after.precision is until.precision is Precision.OPEN
    assert (before.start.year, before.end) == (1, datetime(2020, 1, 1, tzinfo=UTC))
    assert (after.start, after.end.year) == (datetime(2023, 5, 6, tzinfo=UTC), 9999)
    assert until.end == datetime(2022, 7, 11, tzinfo=UTC)
    assert days("until yesterday")[0][1] == "2023-05-16"


def test_the_report_shows_the_words_and_where_they_stand() -> None:
    query = "Ça va? What did we do in the SECOND week of November?"
    [found] = find_intervals(query, NOW)
    assert found.phrase == "SECOND week of November" == query[slice(*found.span)]
    assert found.precision is Precision.WEEK


def test_days_begin_at_midnight_where_the_question_is_asked() -> None:
    tokyo = timezone(timedelta(hours=9))
    [found] = find_intervals("yesterday", datetime(2023, 5, 17, 1, tzinfo=tokyo))
    assert found.start == datetime(2023, 5, 15, 15, tzinfo=UTC)
    assert found.start.tzinfo is tokyo


def test_a_day_on_which_the_clocks_change_has_another_length() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    [found] = find_intervals("yesterday", datetime(2023, 3, 27, 9, tzinfo=berlin))
    assert found.end.astimezone(UTC) - found.start.astimezone(UTC) == timedelta(hours=23)


def test_a_naive_query_time_is_utc() -> None:
    assert find_intervals("yesterday", NOW.replace(tzinfo=None)) == find_intervals("yesterday", NOW)


@pytest.mark.parametrize(
    ("now", "phrase", "expected"),
    [
        (date(2024, 3, 31), "a month ago", ("2024-02-01", "2024-02-29")),
        (date(2024, 3, 31), "the last month", ("2024-02-29", "2024-03-31")),
        (date(2024, 2, 29), "the last year", ("2023-02-28", "2024-02-29")),
        (date(2024, 1, 1), "yesterday", one_day("2023-12-31")),
        (date(2024, 1, 31), "next month", ("2024-02-01", "2024-02-29")),
        (date(2023, 5, 14), "last weekend", ("2023-05-06", "2023-05-07")),
        (date(2023, 1, 15), "this winter", ("2022-12-01", "2023-02-28")),
        (date(2023, 1, 15), "last winter", ("2021-12-01", "2022-02-28")),
        (date(2023, 1, 15), "last quarter", ("2022-10-01", "2022-12-31")),
        (date(2103, 3, 1), "on February 29", one_day("2096-02-29")),
    ],
)
def test_edges_of_the_calendar(now: date, phrase: str, expected: tuple[str, str]) -> None:
    asked = datetime(now.year, now.month, now.day, 12, tzinfo=UTC)
    assert days(f"What happened {phrase}?", asked) == [expected]


@pytest.mark.parametrize("year", [1, 9999])
def test_an_interval_that_leaves_the_calendar_is_not_one(year: int) -> None:
    edge = datetime(year, 1, 1, tzinfo=UTC) if year == 1 else datetime(year, 12, 31, 23, tzinfo=UTC)
    phrase = "yesterday, last week, last month, last year, 2 decades ago, tomorrow, next year and since 9999-12-31"
    for found in find_intervals(phrase, edge):
        assert found.start < found.end
        assert found.start.astimezone(timezone(timedelta(hours=-23))) < found.end.astimezone(UTC)


def test_the_number_of_intervals_is_bounded() -> None:
    query = ", ".join(f"in {year}" for year in range(1990, 2020))
    assert len(find_intervals(query, NOW)) == MAX_INTERVALS


@pytest.mark.parametrize(
    "query",
    [
        "What is her latest painting?",
        "the most recent release",
        "Which was published most recently?",
        "What did I recently read?",
        "What are we currently working on?",
        "Where does he live now?",
        "What do they do these days?",
        "NEWEST FILES",
        "the up-to-date list",
    ],
)
def test_questions_that_want_the_newest(query: str) -> None:
    assert wants_recent(query)
    assert read_times(query, None).wants_recent


@pytest.mark.parametrize(
    "query",
    [
        "What did we decide in May?",
        "Answer me at the latest by noon",
        "What happened every now and then?",
        "Where did she live until now?",
        "Who starred in Now You See Him?",
        "What is known about electric current?",
        "What did she do now that she was free?",
    ],
)
def test_questions_about_any_time(query: str) -> None:
    assert not wants_recent(query)
