"""What a metric is. Nothing here measures: `streams.instruments` makes the real ones of these."""

from enum import StrEnum

from msgspec import Struct

from schemas.reasons import Reason


class Process(StrEnum):
    """Who exports a metric. `rtmeter api` does the work of `JOBS` too, unless it is told not to."""

    WORKER = "worker"
    SINK = "sink"
    API = "api"
    JOBS = "jobs"


class Unit(StrEnum):
    """What is counted or measured. Of `SECONDS` and `TIMESTAMP` (seconds since the epoch) the name says so too."""

    RECORDS = "records"
    ROWS = "rows"
    BATCHES = "batches"
    PARTITIONS = "partitions"
    SUBSCRIBERS = "subscribers"
    CUSTOMERS = "customers"
    REQUESTS = "requests"
    REPORTS = "reports"
    LETTERS = "dead letters"
    FINDINGS = "findings"
    SERVICES = "services"
    FAILURES = "failures"
    YES_OR_NO = "1 or 0"
    SECONDS = "seconds"
    TIMESTAMP = "timestamp"


class Stage(StrEnum):
    """Where a batch's time goes, in the order of the ledger's steps."""

    UNPACK = "unpack"
    FOLD = "fold"
    WRITE = "write"
    ACKNOWLEDGE = "acknowledge"


class Label(Struct, frozen=True):
    """A label, and what bounds the number of its values. `values`: all of them, where they are known beforehand.

    There is none for a customer or subscriber, of whom there are millions. There is none for a partner either: usage is
    metered for partners that no catalog knows (rule 19), so that whoever sends events could make as many as they like.
    """

    name: str
    bounded_by: str
    values: tuple[str, ...] = ()


class Metric(Struct, frozen=True, kw_only=True):
    """A metric. `help`: what it is; `tells`: what an operator reads from it."""

    name: str
    process: Process
    unit: Unit
    help: str
    tells: str
    labels: tuple[Label, ...] = ()


class CounterMetric(Metric, frozen=True, kw_only=True):
    """Only ever goes up, from zero when the process starts."""


class GaugeMetric(Metric, frozen=True, kw_only=True):
    """Goes up and down."""


class HistogramMetric(Metric, frozen=True, kw_only=True):
    """Counts observations by size; `buckets` are their upper bounds."""

    buckets: tuple[float, ...]


PARTITION = Label("partition", "the topic's partitions")
TOPIC = Label("topic", "the five topics")
TABLE = Label("table", "the tables that a sink fills")
REASON = Label("reason", "the contract's reasons", tuple(Reason))
STAGE = Label("stage", "the steps of the ledger", tuple(Stage))
ROUTE = Label("route", "the routes of the API, without `/v1`, and `none` for every other path")
METHOD = Label("method", "the methods of HTTP, and `other`")
STATUS = Label("status", "the statuses that the API answers with")
REPORT_TYPE = Label("type", "the three report types", ("PARTNER", "CUSTOMER", "USER"))
REPORT_STATUS = Label("report_status", "the statuses of a report", ("IN_PROGRESS", "COMPLETED", "FAILED"))
OUTCOME = Label("outcome", "the ways in which an attempt ends", ("completed", "failed", "given back", "lost"))
CHECK = Label("check", "the checks of `rtmeter reconcile`")
WEIGHT = Label("weight", "difference, notice")

#: From a fifth of a millisecond, which a run takes, to the minutes of a large customer's deprovisioning.
BATCH_SECONDS = (0.0002, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60)
BATCH_RECORDS = (1, 10, 100, 1_000, 10_000, 100_000)
RESTORE_SECONDS = (0.01, 0.1, 1, 10, 60, 300)
INSERT_SECONDS = (0.005, 0.02, 0.1, 0.5, 2, 10, 60)
REQUEST_SECONDS = (0.005, 0.02, 0.1, 0.5, 2, 10, 30)
REPORT_SECONDS = (0.1, 0.5, 2, 10, 60, 300, 1_800)
