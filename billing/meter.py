"""Meter lines of files with the same core: audits, what-ifs, and the reference that the pipeline is held to."""

from collections import Counter
from collections.abc import Iterable, Iterator

from msgspec import Struct

from billing.offline import usage_rows
from billing.report import ReportRequest, write_csv
from schemas.catalog import decode_catalog
from schemas.reasons import Reason, Refused
from schemas.routing import is_catalog_line
from streams.core.catalog import CatalogState
from streams.core.long_subscriber import PAGING, Paging
from streams.core.partition import PartitionState


class Line(Struct, frozen=True):
    """A line as if it were a record: `offset` is its number from 0, `timestamp` stands for the append time in ms."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes


class RefusedLine(Struct, frozen=True):
    """A line that could not be metered. `number` counts from 1 over all lines given."""

    number: int
    reason: Reason
    detail: str


class Metered:
    """Lines of both topics, in order of arrival, as state and catalog."""

    def __init__(self, lines: Iterable[bytes], received_at_ms: int, paging: Paging = PAGING) -> None:
        """Another `paging` is for tests."""
        self.catalog = CatalogState()
        self.state = PartitionState("lines", 0, check_keys=False, paging=paging)
        self.refused: list[RefusedLine] = []
        assignments: list[Line] = []
        for number, value in enumerate(lines):
            if is_catalog_line(value):
                try:
                    self.catalog.add(decode_catalog(value, None, received_at_ms, number, check_key=False))
                except Refused as refused:
                    self.refused.append(RefusedLine(number + 1, refused.reason, refused.detail))
            else:
                assignments.append(Line(number, received_at_ms, None, value))
        for applied in self.state.apply_in_runs(assignments, len(assignments)):
            self.refused += [
                RefusedLine(letter.offset + 1, Reason(letter.reason), letter.detail) for letter in applied.dead_letters
            ]
        self.refused.sort(key=lambda line: line.number)

    def refused_by_reason(self) -> Counter[Reason]:
        return Counter(line.reason for line in self.refused)

    def report(self, request: ReportRequest) -> Iterator[bytes]:
        """The CSV of a report, in pieces; `NotAChild` if the sub-partner is none of the partner's."""
        rows = usage_rows(request, self.state.accounts.values(), self.catalog)
        return write_csv(request, rows, self.catalog)
