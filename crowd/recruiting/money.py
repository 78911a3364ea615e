"""Amounts of money: read as decimals, stored as whole minor units, shown with their currency."""

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
"""The largest single amount of a study."""


def amount(raw: Any) -> Decimal:
    """Read an amount of a study file exactly as written; raises ValueError if it is not an amount.

    A YAML number counts by its shortest notation: 0.1 is exactly one tenth.
    """
    expected = "expected an amount such as 1.50"
    if isinstance(raw, bool) or not isinstance(raw, int | float | str | Decimal):
        raise ValueError(f"{expected}, got {brief(raw)}")
    try:
        value = Decimal(raw if isinstance(raw, str) else repr(raw) if isinstance(raw, float) else raw)
    except ArithmeticError:
        raise ValueError(f"{expected}, got {brief(raw)}") from None
    if not value.is_finite() or not 0 <= value <= LARGEST:
        raise ValueError(f"{expected}, from 0 to {LARGEST:,f}, got {brief(raw)}")
    return value


def currency(code: Any) -> str:
    """Check a currency code; raises ValueError for codes that ISO 4217 does not list."""
    if code not in DECIMALS:
        raise ValueError(f"expected the code of a currency as in ISO 4217, such as GBP, got {brief(code)}")
    return str(code)


def fits(value: Decimal, code: str) -> bool:
    """Say whether an amount is a whole number of its currency's minor units."""
    return value.scaleb(DECIMALS[code]) % 1 == 0


def minor_units(value: Decimal, code: str) -> int:
    """Return an amount in whole minor units (pence, cents, yen), rounded down."""
    return int(value.scaleb(DECIMALS[code]))


def decimal_of(units: int, code: str) -> Decimal:
    """Return minor units as an amount of the currency, with all of its decimals."""
    return Decimal(units).scaleb(-DECIMALS[code])


def shown(units: int, code: str) -> str:
    """Return minor units as people read them: `1.50 GBP`, `150 JPY`."""
    return f"{decimal_of(units, code):f} {code}"
