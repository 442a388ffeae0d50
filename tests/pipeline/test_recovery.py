"""Each loss of docs/recovery.md on a real Kafka, made good by the commands that stand there: the numbers are the same.

The tests follow on one another: one installation loses one thing after the other.
"""

import json
import random
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from billing.report import ReportRequest
from rtmeter.installation import Installation as Folder
from rtmeter.options import now_ms
from sinks.positions import Positions, stored_positions
from sinks.rebuild.tables import FED_BY, FROM_RAW_EVENTS
from sinks.store import open_for_reading
from tests.oracle.random_month import random_month
from tests.pipeline.harness import Installation, expected_reports

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]

PAGE = (Path(__file__).parents[2] / "docs" / "recovery.md").read_text()
PARTITIONS = 2
PIECES = 4


def commands_of(title: str) -> list[list[str]]:
    """The commands under a heading of the page, without the program's name."""
    section = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert section is not None, title
    blocks = re.findall(r"^```\n(.*?)^```$", section[1], re.MULTILINE | re.DOTALL)
    found = [shlex.split(line) for block in blocks for line in block.splitlines()]
    assert found and all(command[0] == "rtmeter" for command in found)
    return [command[1:] for command in found]


class Operator:
    """An installation on a Kafka that goes on running, and what is done to it."""

    def __init__(self, root: Path, servers: str) -> None:
        self._root = root
        self._admin = AdminClient({"bootstrap.servers": servers})
        self.installation = Installation(root / "data")
        catalog, events = random_month(random.Random(43), customers=25, events=1600)
        events = [line for line in events if line and b"\n" not in line]
        self._pieces = [[*catalog, *events[0::PIECES]], *(events[n::PIECES] for n in range(1, PIECES))]
        self.lines: list[bytes] = []

    def send_more(self, close_through: str) -> None:
        """The next piece of the month, and a close."""
        piece = self._pieces.pop(0)
        self.lines += piece
        file = self._root / "piece.jsonl"
        file.write_bytes(b"\n".join(piece) + b"\n")
        self.installation.run("emit", "--raw", str(file))
        self.installation.run("close-day", "--through", close_through)

    def type(self, title: str) -> str:
        """Type the commands of a section; what the last one said."""
        said = ""
        for command in commands_of(title):
            command = [word.replace("/backups", str(self._root)) for word in command]
            said = self.installation.run(*command).stderr.decode()
        return said

    def lose_the_store(self) -> None:
        shutil.rmtree(self.installation.data_dir / "store")

    def retain(self, topic: str, positions: Positions | None = None) -> None:
        """What retention does: records go, all of them or those before the positions."""
        parts = [
            TopicPartition(topic, partition, -1 if positions is None else positions[(topic, partition)])
            for partition in range(PARTITIONS)
        ]
        for future in self._admin.delete_records(parts).values():
            future.result()

    def delete_topic(self, topic: str) -> None:
        self._admin.delete_topics([topic])[topic].result()

    def positions(self) -> Positions:
        store = open_for_reading(None, self.installation.data_dir / "store")
        try:
            return stored_positions(store)
        finally:
            store.close()

    def backed_up(self) -> Positions:
        """The positions up to which the backup goes."""
        manifest = json.loads((self._root / "latest" / "manifest.json").read_text())
        return {(one["topic"], one["partition"]): one["offset"] for one in manifest["positions"]}

    def send_again(self) -> None:
        """The last lines once more."""
        again = self.lines[-5:]
        self.lines += again
        file = self._root / "again.jsonl"
        file.write_bytes(b"\n".join(again) + b"\n")
        self.installation.run("emit", "--raw", str(file))

    def differing_reports(self) -> list[ReportRequest]:
        found, expected = self.installation.reports(), expected_reports(self.lines, now_ms())
        return [request for request in expected if found[request] != expected[request]]


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    root = tmp_path_factory.mktemp("recovery")
    with Folder(root / "data", None, "").kafka(PARTITIONS) as servers:
        one = Operator(root, servers)
        one.send_more("2026-10-12")
        one.installation.drain("--workers", "2")
        one.type("Backups")
        yield one


def test_what_the_live_pipeline_wrote_is_what_a_rebuild_makes_from_either_source(operator: Operator) -> None:
    operator.send_more("2026-11-14")
    operator.send_more("2026-11-15")
    operator.installation.drain("--workers", "2")
    assert operator.differing_reports() == []
    said = operator.installation.run("rebuild", "--all").stderr.decode()
    assert said.count("no difference") == len(FROM_RAW_EVENTS)
    said = operator.installation.run("rebuild", *FED_BY, "--from", "topics").stderr.decode()
    assert said.count("no difference") == len(FED_BY)


def test_a_lost_store_comes_back_with_daily_rows_that_their_topic_has_lost(operator: Operator) -> None:
    operator.retain("daily-usage")
    operator.lose_the_store()
    operator.installation.drain()
    assert operator.differing_reports(), "the daily rows are gone"
    assert "daily-usage[0] begins at offset" in (operator.installation.data_dir / "logs" / "sink.log").read_text()
    operator.type("The store is lost")
    assert operator.differing_reports() == []


def test_a_lost_store_comes_back_from_a_backup_where_kafka_has_lost_the_beginning(operator: Operator) -> None:
    backed_up = operator.backed_up()
    now = operator.positions()
    assert all(backed_up[key] < now[key] for key in now if key[0] == "package-assignments"), "the backup is older"
    operator.retain("package-assignments", backed_up)
    operator.lose_the_store()
    operator.type("The store is lost, and Kafka no longer holds all events")
    assert operator.differing_reports() == []


def test_a_lost_state_is_not_metered_on_from_a_hole_and_comes_back_from_the_raw_events(operator: Operator) -> None:
    operator.delete_topic("entitlements")
    operator.installation.run("topics", "create")
    stopped = operator.installation.run("worker", "--no-close-days", codes=(3,)).stderr.decode()
    assert re.search(r"package-assignments\[\d\] begins at offset \d+: .*`rtmeter rebuild entitlements`", stopped)
    operator.send_more("2026-11-16")
    said = operator.type("The topic `entitlements` is lost")
    assert "drained" in said
    assert operator.differing_reports() == []
    said = operator.installation.run("rebuild", "--all").stderr.decode()
    assert said.count("no difference") == len(FROM_RAW_EVENTS)


def test_a_state_that_is_replaced_gives_the_same_numbers(operator: Operator) -> None:
    operator.type("The topic `entitlements` holds something wrong")
    operator.send_again()
    operator.installation.drain()
    assert operator.differing_reports() == []
