"""Money (rule 25): exact until a line is rounded, once, half to even, to the minor unit of its currency.

Amounts are whole numbers of minor units (cents of a dollar, yen, thousandths of a dinar).
"""

from decimal import Decimal
from fractions import Fraction

from streams.core.grid import MICRODAYS_PER_DAY

#: ISO 4217, list one: how many decimal places the minor unit of a currency has.
_CURRENCIES_BY_DIGITS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF "
        "CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF "
        "IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN "
        "MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS "
        "SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_DIGITS = {code: digits for digits, codes in _CURRENCIES_BY_DIGITS.items() for code in codes.split()}

#: What a column of 64 bits holds.
_LARGEST_MINOR = 2**63 - 1


class UnknownCurrency(ValueError):
    """No currency of ISO 4217 that has a minor unit."""


class AmountTooLarge(ValueError):
    """An amount beyond 64 bits of minor units: a price, or a quantity, cannot be meant."""


def minor_digits(currency: str) -> int:
    """The decimal places of a currency's minor unit; UnknownCurrency."""
    try:
        return _DIGITS[currency]
    except KeyError:
        raise UnknownCurrency(f"{currency!r} is no currency of ISO 4217 with a minor unit") from None


def monthly_amount(unit_price: str, quantity_microdays: int, days: int, currency: str) -> int:
    """Price per unit and month × quantity / days of the period, rounded, in minor units."""
    return _rounded(Fraction(Decimal(unit_price)) * quantity_microdays / days, currency)


def one_time_amount(unit_price: str, quantity_microdays: int, currency: str) -> int:
    """Price × quantity, rounded, in minor units. The quantity of one item is a million."""
    return _rounded(Fraction(Decimal(unit_price)) * quantity_microdays, currency)


def amount_text(amount_minor: int, currency: str) -> str:
    """A plain decimal with the places of the currency: `-12.50`, `1250`."""
    digits = minor_digits(currency)
    whole, rest = divmod(abs(amount_minor), 10**digits)
    sign = "-" if amount_minor < 0 else ""
    return f"{sign}{whole}.{rest:0{digits}d}" if digits else f"{sign}{whole}"


def minor_units(amount: str, currency: str) -> int:
    """What `amount_text` wrote, as a number again."""
    return int(Decimal(amount).scaleb(minor_digits(currency)))


def _rounded(microday_prices: Fraction, currency: str) -> int:
    # `round` of a fraction is exact, and half to even.
    minor: int = round(microday_prices * 10 ** minor_digits(currency) / MICRODAYS_PER_DAY)
    if abs(minor) > _LARGEST_MINOR:
        raise AmountTooLarge(f"{minor} minor units of {currency} are more than an invoice can hold")
    return minor
