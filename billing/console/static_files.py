"""The style sheet, the script and the icon: from the package, under an address that changes when they do."""

import hashlib
from importlib.resources import files

from fastapi import APIRouter
from msgspec import Struct
from starlette.responses import Response

from billing.api.errors import ApiError, ErrorCode

router = APIRouter(prefix="/console/static", include_in_schema=False)
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_DIGEST_CHARACTERS = 12


class StaticFile(Struct, frozen=True):
    """A file, and its address below the console's path."""

    content: bytes
    media_type: str
    address: str


def _read(name: str) -> StaticFile:
    content = (files("billing.console") / "static" / name).read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:_DIGEST_CHARACTERS]
    return StaticFile(content, _TYPES[name.rpartition(".")[2]], f"/static/{name}?v={digest}")


STATIC_FILES = {name: _read(name) for name in ("console.css", "console.js", "icon.svg")}


@router.get("/{name}")
def static(name: str) -> Response:
    """One of the files. They are the same for everyone, so they need no session and may be kept."""
    file = STATIC_FILES.get(name)
    if file is None:
        raise ApiError(404, ErrorCode.NO_SUCH_PATH, "There is no such path.")
    headers = {"cache-control": "public, max-age=31536000, immutable", "content-security-policy": "default-src 'none'"}
    return Response(file.content, media_type=file.media_type, headers=headers)
