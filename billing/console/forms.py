"""What a form sends: its fields as text, each once."""

from urllib.parse import parse_qsl

from starlette.requests import Request

from billing.api.errors import ApiError, ErrorCode, bad_request

_MOST_FIELDS = 50


async def fields_of(request: Request) -> dict[str, str]:
    """The fields of a form that was posted, without white space around; ApiError 400 if it is none.

    The body was read before, and is no larger than the guard lets through.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/x-www-form-urlencoded":
        raise ApiError(400, ErrorCode.BAD_BODY, "This is not what the form sends.")
    try:
        text = (await request.body()).decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise bad_request(ErrorCode.BAD_BODY, "This is not what the form sends.") from None
    fields = {name: value.strip() for name, value in pairs}
    if len(fields) < len(pairs) or any("\x00" in value for value in fields.values()):
        raise bad_request(ErrorCode.BAD_BODY, "This is not what the form sends.")
    return fields


def asked(request: Request, name: str, default: str = "") -> str:
    """A field of a form that asks by its address; the last one if it is there twice."""
    return request.query_params.get(name, default).strip()
