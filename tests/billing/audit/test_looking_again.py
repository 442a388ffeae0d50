"""While rows arrive, only what each look at a check finds is a difference."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from billing.audit.reconcile import run
from billing.audit.reconcile.check import Check, Findings, Scope, Slice, Subject, Weight
from schemas.topics import TopicNames

SCOPE = Scope(0, 0, None, Slice(0, 1), {})


@pytest.fixture
def moving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A store into which rows arrive all the time."""
    positions = count()
    monkeypatch.setattr(run, "stored_positions", lambda _: {("topic", 0): next(positions)})
    monkeypatch.setattr(run, "load_catalog", lambda _: None)
    return None


def looked_at(monkeypatch: pytest.MonkeyPatch, *looks: list[str]) -> tuple[int, int, list[str]]:
    """Findings, passed over, and examples of a check that finds these, look by look."""
    turns = iter(looks)

    def look(subject: Subject) -> Findings:
        findings = subject.findings()
        for who in next(turns):
            findings.add(who, "one", "two")
        return findings

    monkeypatch.setattr(run, "CHECKS", (Check("check", "holds", Weight.DIFFERENCE, look),))
    none: Any = None
    (result,) = run.reconcile(none, TopicNames.with_prefix(""), SCOPE, sleep=lambda _: None).results
    return result.findings, result.passed_over, [example.who for example in result.examples]


@pytest.mark.usefixtures("moving")
def test_what_each_look_finds_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [["a", "real"], ["b", "real"], ["c", "real", "a"], ["real"], ["real", "d"]]
    assert looked_at(monkeypatch, *looks) == (1, 1, ["real"])


@pytest.mark.usefixtures("moving")
def test_rows_that_are_only_on_their_way_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looked_at(monkeypatch, ["a", "b"], ["c"]) == (0, 1, [])


@pytest.mark.usefixtures("moving")
def test_very_many_are_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing.audit.reconcile.check.MAX_REMEMBERED", 2)
    assert looked_at(monkeypatch, *[[f"{look}-{n}" for n in range(4)] for look in range(5)])[0] == 4


def test_what_is_found_in_a_store_that_stands_still_needs_no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "stored_positions", lambda _: {})
    monkeypatch.setattr(run, "load_catalog", lambda _: None)
    assert looked_at(monkeypatch, ["a"]) == (1, 0, ["a"])
