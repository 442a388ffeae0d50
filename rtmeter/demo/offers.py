"""What the demo's partners sell, and the made-up names of companies. Prices and SKUs are invented, services are rule 19's."""

import random
from typing import Final, Literal

from msgspec import Struct


class Offer(Struct, frozen=True):
    """One service of a purchase order, and how often it is sold. `price` is per unit and month."""

    service: str
    sku: str
    description: str
    kind: Literal["package", "addon", "one-time"]
    price: str
    weight: int


PACKAGES: Final = (
    Offer("WEBEX_CALLING", "WS-CALLING", "Webex Calling", "package", "8.40", 34),
    Offer("WEBEX_SUITE", "WS-SUITE", "Webex Suite", "package", "13.75", 24),
    Offer("WEBEX_MEETINGS", "WS-MEETINGS", "Webex Meetings", "package", "6.90", 14),
    Offer("WEBEX_VOICE", "WS-VOICE", "Webex Voice", "package", "5.10", 9),
    Offer("WEBEX_CALLING_STANDARD", "WS-CALLING-STD", "Webex Calling Standard", "package", "4.60", 7),
    Offer("COMMON_AREA_CALLING", "WS-COMMON", "Common Area Calling", "package", "3.20", 0),  # workspaces have it
    Offer("CX_ESSENTIALS", "WS-CX-ESS", "Customer Experience Essentials", "package", "21.00", 6),
    Offer("CX_STANDARD_AGENT", "WS-CX-STD", "Customer Experience, standard agent", "package", "58.00", 3),
    Offer("CX_PREMIUM_AGENT", "WS-CX-PRE", "Customer Experience, premium agent", "package", "97.50", 2),
)
ADDONS: Final = (
    Offer("CISCO_CALLING_PLAN", "WS-PLAN", "Cisco Calling Plan", "addon", "7.25", 3),
    Offer("ATTENDANT_CONSOLE", "WS-CONSOLE", "Attendant Console", "addon", "12.00", 1),
)
ONE_TIME: Final = (
    Offer("SETUP_ASSIST_EXPRESS", "WS-SETUP-E", "Wholesale Setup Assist Express Usage", "one-time", "99.00", 0),
    Offer("SETUP_ASSIST_STANDARD", "WS-SETUP-S", "Wholesale Setup Assist Standard Usage", "one-time", "18.50", 0),
)
WORKSPACE_PACKAGE: Final = "COMMON_AREA_CALLING"
#: On no purchase order: it is metered and reported all the same, with an empty SKU (rule 19).
UNLISTED: Final = "WEBEX_EARLY_ACCESS"

_PLACES = (
    "Aldermoor", "Brackenholt", "Cinderford Row", "Dunmarrow", "Elmsgate", "Farrowby", "Gorsehill", "Hollinbeck",
    "Ironbrook", "Juniper Cross", "Kestrelmere", "Larkfold", "Millrace", "Nettlestone", "Oakenshaw", "Pebblewick",
    "Quarrybank", "Rookhaven", "Sandlark", "Thornmere", "Underbridge", "Vinterfield", "Willowmarsh", "Yarrowdale",
)  # fmt: skip
_TRADES = (
    "Accountants", "Bakery", "Bicycles", "Carpentry", "Catering", "Cold Storage", "Dental Care", "Electrical",
    "Florists", "Freight", "Garden Centre", "Glassworks", "Insurance Brokers", "Joinery", "Language School", "Legal",
    "Machine Tools", "Motors", "Opticians", "Packaging", "Pharmacy", "Physiotherapy", "Printing", "Property",
    "Roofing", "Seed Merchants", "Surveyors", "Travel", "Veterinary Practice", "Wine Cellars",
)  # fmt: skip


def company_name(rng: random.Random) -> str:
    """The name of a small business that there is not."""
    return f"{rng.choice(_PLACES)} {rng.choice(_TRADES)}"


class PackageChoice:
    """Packages as often as they are sold; each at least once before any comes twice, so that a small month has all."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._unseen = [offer.service for offer in PACKAGES if offer.weight]
        self._services = tuple(self._unseen)
        self._weights = [offer.weight for offer in PACKAGES if offer.weight]

    def next(self) -> str:
        return self._unseen.pop(0) if self._unseen else self._rng.choices(self._services, self._weights)[0]

    def other_than(self, package: str) -> str:
        return self._rng.choice([service for service in self._services if service != package])
