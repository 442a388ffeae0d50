"""Instants: RFC 3339 text to milliseconds since the epoch, in integers.

Finer digits than a millisecond are cut off (contract, "Envelope"). The year 0000 and years before
1970 are legal RFC 3339 and give negative numbers; refusing them is the business of the caller.
"""

import re
from datetime import UTC, date, datetime

MS_PER_DAY = 86_400_000

_RFC3339 = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:\.(\d+))?(?:[Zz]|([+-])(\d{2}):(\d{2}))",
    re.ASCII,
)
_DAYS_BEFORE_MONTH = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()

# The commonest form by far is in UTC with at most three digits of a fraction: it is taken apart by look-ups alone,
# which also check it. Only the days are not known beforehand; they are asked of the calendar once each, and minutes
# that come often are kept whole. Cleared rather than evicted, because a plain dict is the fastest cache.
_DAY_MS: dict[str, int] = {}
_DAY_MS_SIZE = 10_000
_DAY_AND_MINUTE_MS: dict[str, int] = {}
_DAY_AND_MINUTE_MS_SIZE = 20_000
_MINUTE_MS = {f"{minute // 60:02d}:{minute % 60:02d}:": minute * 60_000 for minute in range(1440)}
_SECOND_MS = {f"{second:02d}": second * 1000 for second in range(60)}
_END_MS = {"Z": 0} | {
    f".{ms:03d}"[: 1 + digits] + "Z": ms
    for digits, unit_ms in ((1, 100), (2, 10), (3, 1))
    for ms in range(0, 1000, unit_ms)
}


def parse_time_ms(text: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 date-time; ValueError if it is none.

    Seconds go to 59: a leap second is not an instant that this system can order.
    """
    try:
        return _DAY_AND_MINUTE_MS[text[:17]] + _SECOND_MS[text[17:19]] + _END_MS[text[19:]]
    except KeyError:
        return _parse_uncommon(text)


def day_number(text: str) -> int:
    """Days since the epoch of a calendar day YYYY-MM-DD; ValueError if it is none."""
    if len(text) != 10 or not text.isascii() or text[4] != "-" or text[7] != "-":
        raise ValueError(f"not a day YYYY-MM-DD: {text!r}")
    return date.fromisoformat(text).toordinal() - _EPOCH_ORDINAL


def day_text(day: int) -> str:
    """YYYY-MM-DD of a number of days since the epoch."""
    return date.fromordinal(day + _EPOCH_ORDINAL).isoformat()


def time_text(time_ms: int) -> str:
    """RFC 3339 in UTC with three digits of a fraction."""
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{time_ms % 1000:03d}Z"


def day_of_ms(time_ms: int) -> int:
    """The UTC day, in days since the epoch, on which an instant falls (rule 13)."""
    return time_ms // MS_PER_DAY


def _parse_uncommon(text: str) -> int:
    finer = text[23:-1]
    end = text[19:23] + text[-1] if finer.isascii() and finer.isdigit() else text[19:]
    try:
        minute_ms = _DAY_MS[text[:11]] + _MINUTE_MS[text[11:17]]
        time_ms = minute_ms + _SECOND_MS[text[17:19]] + _END_MS[end]
    except KeyError:
        return _parse_any(text)
    if len(_DAY_AND_MINUTE_MS) >= _DAY_AND_MINUTE_MS_SIZE:
        _DAY_AND_MINUTE_MS.clear()
    _DAY_AND_MINUTE_MS[text[:17]] = minute_ms
    return time_ms


def _parse_any(text: str) -> int:
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"not an RFC 3339 date-time: {text!r}")
    year, month, day, hour, minute, second = (int(part) for part in match.group(1, 2, 3, 4, 5, 6))
    fraction, sign, offset_hour, offset_minute = match.group(7, 8, 9, 10)
    if not 1 <= month <= 12 or not 1 <= day <= _days_in_month(year, month):
        raise ValueError(f"no such day: {text!r}")
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(f"no such time of day: {text!r}")
    minutes = _days_from_civil(year, month, day) * 1440 + hour * 60 + minute
    if sign is not None:
        if int(offset_hour) > 23 or int(offset_minute) > 59:
            raise ValueError(f"no such offset: {text!r}")
        offset = int(offset_hour) * 60 + int(offset_minute)
        minutes += -offset if sign == "+" else offset
    elif text[10] == "T":
        if len(_DAY_MS) >= _DAY_MS_SIZE:
            _DAY_MS.clear()
        _DAY_MS[text[:11]] = (minutes - hour * 60 - minute) * 60_000
    return minutes * 60_000 + second * 1000 + int((fraction or "")[:3].ljust(3, "0"))


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _days_in_month(year: int, month: int) -> int:
    if month == 2:
        return 29 if _is_leap(year) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def _days_from_civil(year: int, month: int, day: int) -> int:
    """Days since the epoch in the proleptic Gregorian calendar, the year 0000 included."""
    # datetime starts at the year 1; floor division goes on below it.
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 + _DAYS_BEFORE_MONTH[month - 1] + day
    if month > 2 and _is_leap(year):
        days += 1
    return days - _EPOCH_ORDINAL
