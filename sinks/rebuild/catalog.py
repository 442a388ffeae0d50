"""The rows of catalog records, as the sink makes them: raw events, versions, and dead letters of what is refused."""

from collections.abc import Sequence

from schemas.catalog import CatalogVersion, decode_catalog
from schemas.reasons import Refused
from sinks import rows
from sinks.rows import Block, SinkRecord
from streams.core.catalog import CatalogState


class CatalogRows:
    """A builder of rows that knows what came before: whether a version is new depends on it."""

    def __init__(self) -> None:
        self._state = CatalogState()

    def __call__(self, records: Sequence[SinkRecord]) -> list[Block]:
        """The blocks of records that follow on those of the call before."""
        versions: list[CatalogVersion] = []
        letters: list[SinkRecord] = []
        for record in records:
            try:
                version = decode_catalog(record.value, record.key, record.append_time_ms, record.offset)
                if self._state.add(version):
                    versions.append(version)
            except Refused as refused:
                letters.append(rows.refused_record(record, refused))
        blocks = rows.raw_event_blocks(records)
        if versions:
            blocks += rows.catalog_blocks(versions)
        if letters:
            blocks += rows.dead_letter_blocks(letters)
        return blocks
