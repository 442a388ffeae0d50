"""The file of a report, by a signed link alone: ranges, gzip, and a digest of the bytes."""

import base64
import re
import zlib
from collections.abc import AsyncIterator
from typing import IO

from fastapi import APIRouter
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from billing.api.errors import ApiError, ErrorCode
from billing.api.links import Link
from billing.api.reports import download_path, notes_header
from billing.api.services import Services, services_of
from billing.api.threads import in_thread
from billing.jobs.reports import ReportFile, StoredReport
from schemas.instants import day_text

router = APIRouter(include_in_schema=False)
_CHUNK_BYTES = 1 << 18
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII)


class Part(Struct, frozen=True):
    """A stretch of a file, in bytes; both ends included."""

    first: int
    last: int


@router.api_route("/downloads/{report_id}.csv", methods=["GET", "HEAD"])
async def download(request: Request, report_id: str) -> Response:
    """The CSV. A link that is wrong, too old, another's or of a deleted report is not valid, and that is all it says."""
    services = services_of(request)
    report, file = await in_thread(_find, services, request, report_id)
    assert report.file is not None
    try:
        return _answer(request, report, report.file, file)
    except BaseException:
        file.close()
        raise


def _find(services: Services, request: Request, report_id: str) -> tuple[StoredReport, IO[bytes]]:
    given = request.query_params
    link = Link(
        download_path(report_id),
        report_id,
        given.get("org", ""),
        given.get("expires", ""),
        given.get("keyId", ""),
        given.get("signature", ""),
    )
    exactly_once = len(given.multi_items()) == 4
    # The register is asked in any case: how long an answer takes tells nothing.
    report = services.register.get(report_id)
    if not services.links.is_good(link, services.now_ms() // 1000) or report is None or not exactly_once:
        raise _not_valid()
    if report.file is None:
        raise _not_valid()
    try:
        return report, services.files.open(report.file.name)
    except FileNotFoundError:  # deleted since we looked
        raise _not_valid() from None


def _answer(request: Request, report: StoredReport, described: ReportFile, file: IO[bytes]) -> Response:
    digest = base64.b64encode(bytes.fromhex(described.sha256)).decode()
    wanted = report.request
    name = f"{wanted.report_type}_{day_text(wanted.first_day)}_{day_text(wanted.last_day)}.csv"
    etag = f'"{described.sha256}"'
    headers = {
        "content-disposition": f'attachment; filename="{name}"',
        "repr-digest": f"sha-256=:{digest}:",
        "rtmeter-sha256": described.sha256,
        "accept-ranges": "bytes",
        "vary": "accept-encoding",
        "etag": etag,
        **notes_header(report),
    }
    size = described.size_bytes
    part = None
    asked = request.headers.get("range")
    if asked is not None and request.headers.get("if-range", etag) == etag:
        part = _part(asked, size)
    if part is not None:
        headers["content-range"] = f"bytes {part.first}-{part.last}/{size}"
        status, first, length = 206, part.first, part.last - part.first + 1
    else:
        status, first, length = 200, 0, size
        if _takes_gzip(request.headers.get("accept-encoding", "")):
            # Another representation, another tag; a range of it would be one of other bytes.
            headers |= {"content-encoding": "gzip", "etag": f'"{described.sha256}-gzip"'}
            del headers["repr-digest"]
            return _stream(request, _gzipped(_chunks(file, 0, size)), file, 200, headers)
    headers["content-length"] = str(length)
    return _stream(request, _chunks(file, first, length), file, status, headers)


def _stream(
    request: Request, chunks: AsyncIterator[bytes], file: IO[bytes], status: int, headers: dict[str, str]
) -> Response:
    if request.method == "HEAD":
        file.close()
        return Response(status_code=status, headers=headers, media_type="text/csv; charset=utf-8")
    return StreamingResponse(chunks, status, headers, "text/csv; charset=utf-8")


async def _chunks(file: IO[bytes], first: int, length: int) -> AsyncIterator[bytes]:
    """Bytes of the file. A thread reads each piece; while the client takes it none waits."""
    try:
        await in_thread(file.seek, first)
        while length > 0:
            chunk = await in_thread(file.read, min(length, _CHUNK_BYTES))
            if not chunk:
                raise OSError("the file is shorter than it was")
            length -= len(chunk)
            yield chunk
    finally:
        file.close()


async def _gzipped(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    compress = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    async for chunk in chunks:
        if compressed := await in_thread(compress.compress, chunk):
            yield compressed
    yield compress.flush()


def _part(asked: str, size: int) -> Part | None:
    """The stretch that a `Range` header asks for; None for a form that we may ignore: then all of it is sent.

    ApiError 416 if it begins beyond the end.
    """
    match = _RANGE.fullmatch(asked.strip())
    if match is None or match.group(1, 2) == ("", ""):
        return None
    first_text, last_text = match.group(1, 2)
    if not first_text:
        suffix = int(last_text)
        first, last = max(0, size - suffix), size - 1
        satisfiable = suffix > 0 and size > 0
    else:
        first, last = int(first_text), min(int(last_text or size - 1), size - 1)
        if last_text and int(last_text) < first:
            return None
        satisfiable = first < size
    if not satisfiable:
        raise ApiError(
            416, ErrorCode.RANGE_NOT_SATISFIABLE, "The range is not in the file.", {"Content-Range": f"bytes */{size}"}
        )
    return Part(first, last)


def _takes_gzip(accept_encoding: str) -> bool:
    for choice in accept_encoding.lower().split(","):
        name, _, weight = choice.partition(";")
        if name.strip() in ("gzip", "*") and weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            return True
    return False


def _not_valid() -> ApiError:
    return ApiError(404, ErrorCode.LINK_NOT_VALID, "The download link is not valid, or not any more.")
