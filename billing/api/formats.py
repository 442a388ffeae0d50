"""A finished report's CSV in other forms, piece by piece: JSON, and Parquet with typed columns."""

import tempfile
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from msgspec.json import Encoder

_ENCODER = Encoder()
_DATES = ("CONSUMPTION_START_DATE", "CONSUMPTION_END_DATE")
_QUANTITY = "QUANTITY"
#: 38 digits, six of them after the point: any quantity there can be.
_DECIMAL = pa.decimal128(38, 6)
_CHUNK_BYTES = 1 << 18


def as_json(file: IO[bytes]) -> Iterator[bytes]:
    """A JSON array of objects, one per row; every value is the text of the CSV: a number would lose exactness."""
    yield b"["
    before = b"\n"
    for batch in _batches(file, {}):
        lines = [_ENCODER.encode(row) for row in batch.to_pylist()]
        if lines:
            yield before + b",\n".join(lines)
            before = b",\n"
    yield b"\n]\n"


def as_parquet(file: IO[bytes]) -> IO[bytes]:
    """A Parquet file: dates as date32, the quantity as a decimal, all else as text. The caller closes it."""
    types: dict[str, Any] = {name: pa.date32() for name in _DATES} | {_QUANTITY: _DECIMAL}
    made = tempfile.TemporaryFile()
    try:
        writer = None
        for batch in _batches(file, types):
            writer = writer or pa.parquet.ParquetWriter(made, batch.schema, compression="zstd")
            writer.write_batch(batch)
        if writer is not None:
            writer.close()
        made.seek(0)
    except BaseException:
        made.close()
        raise
    return made


def _batches(file: IO[bytes], types: dict[str, Any]) -> Iterator[Any]:
    header = file.readline().decode().rstrip("\r\n").split(",")
    column_types = {name: types.get(name, pa.string()) for name in header}
    rows_begin = file.tell()
    if not file.read(1):  # the reader takes no empty file
        yield pa.RecordBatch.from_pylist([], pa.schema(column_types))
        return
    file.seek(rows_begin)
    yield from pa.csv.open_csv(
        file,
        pa.csv.ReadOptions(column_names=header, block_size=1 << 20, use_threads=False),
        pa.csv.ParseOptions(newlines_in_values=True),
        pa.csv.ConvertOptions(column_types=column_types, strings_can_be_null=False),
    )
