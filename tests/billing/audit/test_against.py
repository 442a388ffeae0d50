"""A provisioning system's list beside what is held: every difference, both ways, under its likely cause."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from billing.audit.against import BadList, Held, ListDifference, What, differences, held_here, read_list, with_causes
from schemas.instants import parse_time_ms
from schemas.topics import TopicNames
from sinks.store import ReadableStore, open_for_reading
from tests.store_process import serving

AT_MS = parse_time_ms("2026-10-31T12:00:00Z")
AFTER_ALL_MS = parse_time_ms("2026-11-20T00:00:00Z")
NAMES = TopicNames.with_prefix("")


def event(number: int, kind: str, time: str, customer: str = "c", subscriber: str | None = "s", **data: object) -> str:
    of = {
        "partnerOrgId": "p",
        "customerOrgId": customer,
        **({} if subscriber is None else {"subscriberId": subscriber}),
    }
    whole = {"specversion": "1.0", "id": f"e{number}", "source": "/t", "type": f"wholesale.{kind}.v1", "time": time}
    return json.dumps({**whole, "data": {**of, **data}})


def assigned(
    number: int, subscriber: str, customer: str = "c", time: str = "2026-10-01T00:00:00Z", **data: object
) -> str:
    return event(number, "package.assigned", time, customer, subscriber, **{"package": "CALL", "userId": "u", **data})


EVENTS = [
    assigned(1, "same", locationId="L1"),
    assigned(2, "removed"),
    event(3, "subscriber.removed", "2026-10-05T00:00:00Z", subscriber="removed"),
    assigned(4, "moved-away", customer="other"),
    event(5, "package.assigned", "2026-10-01T00:00:00Z", subscriber="refused", package="not a name", userId="u"),
    assigned(6, "gone", customer="left"),
    event(7, "customer.deprovisioned", "2026-10-09T00:00:00Z", customer="left", subscriber=None),
    assigned(8, "later", time="2026-11-02T00:00:00Z"),
    assigned(9, "changed", package="SUITE"),
    assigned(10, "ours-alone"),
]
THEIRS = """customerOrgId,subscriberId,package,locationId,since
c,same,call,L1,2026-10-01T00:00:00Z
c,removed,CALL,,
c,moved-away,CALL,,
c,refused,CALL,,
left,gone,CALL,,
c,later,CALL,,
c,changed,CALL,,
c,unheard,CALL,,
nobody,unheard,CALL,,
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("against")
    (folder / "events.jsonl").write_text("\n".join(EVENTS))
    with serving(folder, [folder / "events.jsonl"]):
        yield folder


@pytest.fixture(scope="module")
def store(folder: Path) -> ReadableStore:
    return open_for_reading(None, folder / "store")


def test_every_difference_has_its_likely_cause(store: ReadableStore) -> None:
    found = differences(read_list(THEIRS.splitlines()), held_here(store, ["p"], AFTER_ALL_MS))
    causes = {
        (one.customer_id, one.subscriber_id): (one.what, one.cause)
        for one in with_causes(found, store, NAMES, ["p"], AFTER_ALL_MS)
    }
    assert causes == {
        ("c", "removed"): (What.ONLY_THERE, "it was removed here"),
        ("c", "moved-away"): (What.ONLY_THERE, "another customer holds it here"),
        ("c", "refused"): (What.ONLY_THERE, "an event was refused: bad-field"),
        ("left", "gone"): (What.ONLY_THERE, "the customer was deprovisioned here"),
        ("c", "changed"): (What.OTHER_PACKAGE, "the two say otherwise"),
        ("c", "unheard"): (What.ONLY_THERE, "no event about this subscriber"),
        ("nobody", "unheard"): (What.ONLY_THERE, "no event about this customer"),
        ("c", "ours-alone"): (What.ONLY_HERE, "their list lacks it"),
        ("other", "moved-away"): (What.ONLY_HERE, "their list lacks it"),
    }


def test_what_changes_or_arrives_after_the_list_is_said_so(store: ReadableStore) -> None:
    found = differences(read_list(THEIRS.splitlines()), held_here(store, ["p"], AT_MS))
    explained = {one.subscriber_id: one for one in with_causes(found, store, NAMES, ["p"], AT_MS)}
    assert explained["later"].cause == "it changes after the time of the list"
    assert explained["ours-alone"].cause == "we heard of it after the time of the list"
    assert "event e10 of /t (package-assignments/0/9)" in explained["ours-alone"].detail


def test_members_that_a_list_does_not_have_are_not_compared() -> None:
    ours = [Held("c", "s", "CALL", "L1", "u", 5)]
    assert differences([Held("c", "s", "CALL")], ours) == []
    assert [one.what for one in differences([Held("c", "s", "CALL", "L2", "v", 6)], ours)] == [
        What.OTHER_LOCATION,
        What.OTHER_USER,
        What.OTHER_SINCE,
    ]


def test_packages_and_addons_of_a_subscriber_are_compared_one_by_one() -> None:
    theirs = [Held("c", "s", "CALL"), Held("c", "s", "EXTRA")]
    assert differences(theirs, [Held("c", "s", "CALL")]) == [ListDifference(What.ONLY_THERE, "c", "s", "EXTRA", "")]
    assert differences(theirs, theirs) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("customerOrgId,package\n", "no column subscriberid"),
        ("", "its header is empty"),
        ("customerOrgId,subscriberId,package,since\nc,s,P,yesterday\n", "line 2"),
        ("customerOrgId,subscriberId,package\nc\n", "line 2"),
    ],
)
def test_a_list_that_cannot_be_read_says_where(text: str, said: str) -> None:
    with pytest.raises(BadList, match=said):
        list(read_list(text.splitlines()))


def test_header_names_are_taken_in_any_spelling() -> None:
    assert list(read_list(["Customer Org ID,SUBSCRIBER_ID,Service Name", "c,s,call"])) == [Held("c", "s", "CALL")]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rtmeter", "reconcile", "--data-dir", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_compares_lists_and_keeps_a_record_of_its_runs(folder: Path, tmp_path: Path) -> None:
    file, all_of_them = tmp_path / "theirs.csv", tmp_path / "differences.csv"
    file.write_text(THEIRS)
    done = run(
        folder, "--against", str(file), "--partner", "p", "--at", "2026-10-31T12:00:00Z", "--output", str(all_of_them)
    )
    assert done.returncode == 1, done.stderr
    assert "bad-field" in " ".join(done.stdout.split())
    assert len(all_of_them.read_text().splitlines()) == 11
    assert run(folder, "--last").returncode == 1, "nothing yet"
    clean = run(folder, "--month", "2026-10")
    assert clean.returncode == 0, clean.stdout + clean.stderr
    assert run(folder, "--last").stdout == clean.stdout
    assert run(folder, "--month", "2026-11").returncode == 1, "its days are not closed"
    assert run(folder, "--month", "October").returncode == 2
    assert run(folder, "--against", str(file)).returncode == 2, "whose list is it?"
