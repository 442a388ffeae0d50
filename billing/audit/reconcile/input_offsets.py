"""The input is stored without holes, and what was metered is all of it."""

from billing.audit.reconcile.check import Findings, Subject
from billing.queries import PROGRESS

# Offsets are of the raw rows themselves: a hole shows as fewer rows than the span from the first to the last.
_SPANS = """
SELECT topic, partition, min(offset), max(offset), uniqExact(offset)
FROM raw_events WHERE topic IN {topics:Array(String)} GROUP BY topic, partition ORDER BY topic, partition
"""
_POSITIONS = "SELECT topic, partition, revision FROM sink_positions FINAL WHERE topic IN {topics:Array(String)}"


def holes(subject: Subject) -> Findings:
    """Every offset from the first stored one to the sink's position has its row. Retention may have cut the beginning."""
    findings = subject.findings()
    topics: dict[str, object] = {"topics": [subject.names.package_assignments, subject.names.catalog]}
    spans = {(topic, partition): span for topic, partition, *span in subject.store.query(_SPANS, topics)}
    for (topic, partition), (first, last, rows) in spans.items():
        findings.looked_at += rows
        if rows != last - first + 1:
            findings.add(f"{topic}/{partition}", f"{last - first + 1} offsets from {first} to {last}", f"{rows} rows")
    for topic, partition, position in subject.store.query(_POSITIONS, topics):
        # A compacted or trimmed beginning has no rows; the end has them all.
        end = spans[topic, partition][1] + 1 if (topic, partition) in spans else 0
        if end < position:
            findings.add(f"{topic}/{partition}", f"rows up to the sink's position {position}", f"rows up to {end}")
    return findings


def accounted(subject: Subject) -> Findings:
    """metered + duplicates + refused + day closes = the input that was metered, and none of it is beyond the raw rows."""
    findings = subject.findings()
    topic = subject.names.package_assignments
    spans = {p: last for t, p, _, last, _ in subject.store.query(_SPANS, {"topics": [topic]}) if t == topic}
    for partition, revision, _, *counts in subject.store.query(PROGRESS):
        findings.looked_at += revision
        if sum(counts) != revision:
            findings.add(f"partition {partition}", f"{revision} records metered", " + ".join(map(str, counts)))
        if revision > spans.get(partition, -1) + 1 and not _is_behind(subject, partition, revision):
            findings.add(
                f"partition {partition}", f"raw rows up to {revision}", f"up to {spans.get(partition, -1) + 1}"
            )
    return findings


def _is_behind(subject: Subject, partition: int, revision: int) -> bool:
    """Whether the sink has merely not come so far with the input as with the state."""
    topic = subject.names.package_assignments
    positions: dict[int, int] = {p: end for _, p, end in subject.store.query(_POSITIONS, {"topics": [topic]})}
    return positions.get(partition, 0) < revision
