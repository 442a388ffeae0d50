"""What Grafana makes of a question: as its ClickHouse data source's own tests and documentation have it."""

import pytest

from dashboards.expansion import ALL, NotExpanded, Selection, expanded_promql, expanded_sql

#: 2014-11-12T11:45:26.371Z to 2015-11-12T11:45:26.371Z
YEAR = Selection(1_415_792_726_371, 1_447_328_726_371)


@pytest.mark.parametrize(
    ("macro", "expanded"),
    [
        ("$__fromTime", "toDateTime(1415792726)"),
        ("$__toTime", "toDateTime(1447328726)"),
        ("$__fromTime_ms", "fromUnixTimestamp64Milli(1415792726371)"),
        ("$__toTime_ms", "fromUnixTimestamp64Milli(1447328726371)"),
        ("$__timeFilter(col)", "col >= toDateTime(1415792726) AND col <= toDateTime(1447328726)"),
        (
            "$__timeFilter_ms(col)",
            "col >= fromUnixTimestamp64Milli(1415792726371) AND col <= fromUnixTimestamp64Milli(1447328726371)",
        ),
        ("$__dateFilter(dateCol)", "dateCol >= toDate('2014-11-12') AND dateCol <= toDate('2015-11-12')"),
        ("$__timeInterval(f(a, b))", "toStartOfInterval(toDateTime(f(a, b)), INTERVAL 43200 second)"),
        ("$__timeInterval_ms(col)", "toStartOfInterval(toDateTime64(col, 3), INTERVAL 43200000 millisecond)"),
        ("$__interval_s", "43200"),
    ],
)
def test_a_macro_becomes_what_the_data_source_makes_of_it(macro: str, expanded: str) -> None:
    assert expanded_sql(f"SELECT 1 WHERE {macro} AND 1", YEAR) == f"SELECT 1 WHERE {expanded} AND 1"


def test_an_interval_is_never_less_than_a_second() -> None:
    assert expanded_sql("$__interval_s", Selection(0, 10)) == "1"


def with_values(**values: tuple[str, ...]) -> Selection:
    return Selection(0, 60_000, values)


@pytest.mark.parametrize(
    ("written", "values", "expanded"),
    [
        ("${x:singlequote}", ("a",), "'a'"),
        ("${x:singlequote}", ("a", "b"), "'a','b'"),
        ("${x:singlequote}", ("it's",), "'it\\'s'"),
        ("${x:raw}", ("2026-10",), "2026-10"),
        ("$x", ("a",), "a"),
        ("${x}", ("a", "b"), "'a','b'"),
    ],
)
def test_a_variable_is_written_in_its_format(written: str, values: tuple[str, ...], expanded: str) -> None:
    assert expanded_sql(f"SELECT {written}", with_values(x=values)) == f"SELECT {expanded}"


def test_quoting_does_not_think_of_backslashes_which_is_why_ids_are_chosen_in_hexadecimal() -> None:
    assert expanded_sql("${x:singlequote}", with_values(x=("\\'",))) == "'\\\\''"


CONDITION = "$__conditionalAll(p IN (SELECT f(a, b) UNION ALL SELECT ${x:singlequote}), $x)"


def test_a_condition_stands_unless_all_is_chosen() -> None:
    assert expanded_sql(CONDITION, with_values(x=(ALL,))) == "1=1"
    assert expanded_sql(CONDITION, with_values(x=("",))) == "1=1"
    some = expanded_sql(f"{CONDITION} AND {CONDITION}", with_values(x=("a", "b")))
    assert some == " AND ".join(["p IN (SELECT f(a, b) UNION ALL SELECT 'a','b')"] * 2)


@pytest.mark.parametrize(
    "sql",
    [
        "${missing:singlequote}",
        "$missing",
        "${x:regexp}",
        "$__timeFliter(col)",
        "$__timeFilter(a, b)",
        "$__timeFilter",
        "$__conditionalAll(1, ${x:singlequote})",
        "$__conditionalAll(1=1)",
        "$__dateFilter(day",
        "[[x]]",
    ],
)
def test_what_would_be_sent_as_it_stands_is_told(sql: str) -> None:
    with pytest.raises(NotExpanded):
        expanded_sql(sql, with_values(x=("a",)))


def test_prometheus_hears_intervals_that_hold_four_scrapes() -> None:
    hour = Selection(0, 3_600_000)  # 500 points: 7.2 s, less than a scrape
    assert expanded_promql("rate(x[$__rate_interval])", hour) == "rate(x[60s])"
    assert expanded_promql("avg_over_time(x[$__interval]) / $__range_s", hour) == "avg_over_time(x[15s]) / 3600"
    week = Selection(0, 7 * 86_400_000)
    assert expanded_promql("increase(x[$__range]) or rate(x[$__rate_interval])", week) == (
        "increase(x[604800s]) or rate(x[1215s])"
    )
    with pytest.raises(NotExpanded):
        expanded_promql("rate(x[$interval])", week)
