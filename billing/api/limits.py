"""How often an org may ask: a bucket of tokens each, filled evenly."""

import math
import threading
from collections.abc import Callable

from billing.api.errors import ApiError, ErrorCode

#: Forgotten first when there are more: an org that has not asked for long has a full bucket anyway.
_MOST_ORGS = 10_000


class RateLimit:
    """So many requests a minute per org, in this process."""

    def __init__(self, requests_per_minute: int, now_ms: Callable[[], int]) -> None:
        self._per_minute = requests_per_minute
        self._now_ms = now_ms
        self._lock = threading.Lock()
        # By org: requests left times 60,000, and when that was so. A minute's milliseconds make a whole request.
        self._left: dict[str, tuple[int, int]] = {}

    def take(self, org_id: str) -> None:
        """Count a request; ApiError 429 if there is none left."""
        full = self._per_minute * 60_000
        with self._lock:
            now = self._now_ms()
            left, since = self._left.pop(org_id, (full, now))
            left = min(full, left + max(0, now - since) * self._per_minute)
            allowed = left >= 60_000
            self._left[org_id] = (left - 60_000 if allowed else left, now)
            if len(self._left) > _MOST_ORGS:
                del self._left[next(iter(self._left))]
        if not allowed:
            wait_s = math.ceil((60_000 - left) / self._per_minute / 1000)
            raise ApiError(429, ErrorCode.TOO_MANY_REQUESTS, "Too many requests.", {"Retry-After": str(max(1, wait_s))})
