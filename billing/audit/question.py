"""What is to be explained, and how much of it may be told."""

from msgspec import Struct

from billing.audit.raw_events import NOW, AsOf


class Question(Struct, frozen=True):
    """What is to be explained: a subscriber, or a customer if it is None, over days, both included.

    `as_of` and `as_of_text`: what was known then, and how it was asked for. `every_record`: leave none out.
    `own_only`: nothing of other partners may be told, nor of records that do not say whose they are. `today`: days from
    it on are not over, which is said. `most_records`: with more under the customer's key, nothing is explained.
    """

    partner_id: str
    customer_id: str
    subscriber_id: str | None
    first_day: int
    last_day: int
    as_of: AsOf = NOW
    as_of_text: str | None = None
    every_record: bool = False
    own_only: bool = False
    today: int | None = None
    most_records: int | None = None
