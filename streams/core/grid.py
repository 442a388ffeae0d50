"""The microday grid (rules 13 and 14): the one place that knows how long a day is.

A microday is a millionth of a day, 86.4 ms. Every quantity is a difference of two grid points, so that days
add up to their interval exactly, whatever was rounded.
"""

MICRODAYS_PER_DAY = 1_000_000


def microday(time_ms: int) -> int:
    """The grid point of an instant: time_ms / 86.4 rounded half up."""
    return (10 * time_ms + 432) // 864
