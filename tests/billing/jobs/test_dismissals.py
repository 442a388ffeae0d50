"""Dismissals of dead letters, on SQLite and on PostgreSQL."""

import pytest

from billing.dismissals import AlreadyDismissed, Dismissal, Dismissals
from billing.relational.connect import open_engine
from schemas.dead_letters import Origin

LETTER = Origin("package-assignments", 3, 1 << 40)


def test_a_dismissal_is_kept_with_who_and_why(url: str) -> None:
    dismissals = Dismissals(open_engine(url))
    assert dismissals.letters() == []
    made = dismissals.dismiss(LETTER, " sent again ", "billing desk", 1_800_000_000_000)
    assert made == Dismissal(LETTER, "sent again", "billing desk", 1_800_000_000_000)
    assert Dismissals(open_engine(url)).of(LETTER) == made
    assert dismissals.letters() == [LETTER]
    assert dismissals.of(Origin("package-assignments", 3, 1)) is None


def test_the_first_dismissal_stands(url: str) -> None:
    dismissals = Dismissals(open_engine(url))
    made = dismissals.dismiss(LETTER, "sent again", "billing desk", 1)
    with pytest.raises(AlreadyDismissed, match=r"by billing desk: sent again") as refused:
        dismissals.dismiss(LETTER, "another reason", "somebody else", 2)
    assert refused.value.dismissal == made
    assert dismissals.of(LETTER) == made


@pytest.mark.parametrize(("reason", "by"), [("", "billing desk"), (" \n", "billing desk"), ("sent again", " ")])
def test_nobody_dismisses_without_a_reason_and_a_name(url: str, reason: str, by: str) -> None:
    dismissals = Dismissals(open_engine(url))
    with pytest.raises(ValueError, match="says why, and who"):
        dismissals.dismiss(LETTER, reason, by, 1)
    assert dismissals.letters() == []
