"""Amounts of money: read as decimals, kept as whole minor units, shown with their currency."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ...errors import brief

_DECIMALS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY "
    "COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR "
    "ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK "
    "MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP "
    "SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD YER ZAR "
    "ZMW ZWG",
}
"""Digits of the minor unit → currencies, as in ISO 4217."""

DECIMALS = {code: digits for digits, codes in _DECIMALS.items() for code in codes.split()}
"""Currency → digits after the point: 2 for GBP (pence), 0 for JPY, 3 for KWD."""

LARGEST = Decimal(10) ** 9
"""No single amount of a study is larger."""


def amount(given: Any) -> Decimal:
    """Read an amount of a study file exactly as it is written; raises ValueError for what is none.

    A number of YAML counts by its shortest notation, so 0.1 is a tenth and nothing near it.
    """
    expected = "expected an amount such as 1.50"
    if isinstance(given, bool) or not isinstance(given, int | float | str | Decimal):
        raise ValueError(f"{expected}, got {brief(given)}")
    try:
        value = Decimal(
            given if isinstance(given, str) else repr(given) if isinstance(given, float) else given
        )
    except ArithmeticError:
        raise ValueError(f"{expected}, got {brief(given)}") from None
    if not value.is_finite() or not 0 <= value <= LARGEST:
        raise ValueError(f"{expected}, from 0 to {LARGEST:,f}, got {brief(given)}")
    return value


def currency(code: Any) -> str:
    """Check a currency's code; raises ValueError for what ISO 4217 does not list."""
    if code not in DECIMALS:
        raise ValueError(f"expected the code of a currency as in ISO 4217, such as GBP, got {brief(code)}")
    return str(code)


def fits(value: Decimal, code: str) -> bool:
    """Say whether an amount is a whole number of its currency's minor units."""
    return value.scaleb(DECIMALS[code]) % 1 == 0


def minor_units(value: Decimal, code: str) -> int:
    """Return an amount in whole minor units (pence, cents, yen), a fraction of one being dropped."""
    return int(value.scaleb(DECIMALS[code]))


def decimal_of(units: int, code: str) -> Decimal:
    """Return minor units as an amount of the currency, with all of its decimals."""
    return Decimal(units).scaleb(-DECIMALS[code])


def shown(units: int, code: str) -> str:
    """Return minor units as people read them: `1.50 GBP`, `150 JPY`."""
    return f"{decimal_of(units, code):f} {code}"
