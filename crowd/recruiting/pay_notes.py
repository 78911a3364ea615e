"""Comparison of the sums of money in a study's texts with its settings, so that people read only one sum.

Covers amounts in digits with a symbol, a code or a common word. Does not cover amounts in words ("two
pounds"), and cannot know what a sum is about: a sum that the settings lack is a note, not an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal

from ..studies.study import Study
from .money import DECIMALS, decimal_of, shown

_SYMBOLS: Mapping[str, tuple[str, ...]] = {
    "£": ("GBP", "EGP", "FKP", "GIP", "SHP"),
    "$": ("USD", "AUD", "CAD", "NZD", "SGD", "HKD", "MXN", "TWD", "BRL", "ARS", "CLP", "COP"),
    "€": ("EUR",),
    "¥": ("JPY", "CNY"),
    "￥": ("JPY", "CNY"),
    "₹": ("INR",),
    "₩": ("KRW",),
    "元": ("CNY", "TWD", "HKD"),
    "円": ("JPY",),
    "英镑": ("GBP",),
    "美元": ("USD",),
    "欧元": ("EUR",),
}
_WORDS: Mapping[str, tuple[str, ...]] = {
    "pound": _SYMBOLS["£"],
    "dollar": _SYMBOLS["$"],
    "euro": ("EUR",),
    "yen": ("JPY",),
    "yuan": ("CNY",),
}
_HUNDREDTHS = {"p": _SYMBOLS["£"], "pence": _SYMBOLS["£"], "penny": _SYMBOLS["£"]}
_HUNDREDTHS |= {"cent": (*_SYMBOLS["$"], "EUR"), "cents": (*_SYMBOLS["$"], "EUR")}
_NUMBER = r"\d+(?:[.,\u00a0\u202f']\d+)*"
_SIGN = "|".join([*map(re.escape, _SYMBOLS), *(rf"\b{code}\b" for code in DECIMALS)])
_BEFORE = re.compile(rf"(?P<sign>{_SIGN})\s?(?P<number>{_NUMBER})")
_AFTER = re.compile(
    rf"(?P<number>{_NUMBER})\s?(?P<sign>{_SIGN}|(?:{'|'.join(_WORDS)})s?\b|(?:{'|'.join(_HUNDREDTHS)})\b)"
)


def pay_notes(study: Study) -> list[str]:
    """Return a line for every sum in the texts that the settings do not pay."""
    texts = {"consent": study.consent, "instructions": study.instructions}
    texts |= {"pay.text": study.pay.text} if study.pay else {}
    notes = []
    for place, text in texts.items():
        for language, sentence in text.items():
            where = f"{place}.{language}" if language else place
            for sum_, currencies in sums_in(sentence):
                if (note := _describe_difference(study, sum_, currencies)) is not None:
                    notes.append(f"at {where!r}: the text says {note}; change one of them")
    return list(dict.fromkeys(notes))


def sums_in(text: str) -> Iterator[tuple[Decimal, tuple[str, ...]]]:
    """Yield every sum of money in a text, with the currencies that its sign may stand for."""
    starts: set[int] = set()
    for match in (*_BEFORE.finditer(text), *_AFTER.finditer(text)):
        if match.start("number") in starts:  # "GBP 1.50 GBP", or a sign between two numbers
            continue
        starts.add(match.start("number"))
        sign, value = match["sign"], _decimal(match["number"])
        if sign in _HUNDREDTHS:
            yield value / 100, _HUNDREDTHS[sign]
        else:
            yield value, _SYMBOLS.get(sign) or _WORDS.get(sign.rstrip("s")) or (sign,)


def _describe_difference(study: Study, value: Decimal, currencies: tuple[str, ...]) -> str | None:
    """Describe how a sum differs from the settings; None if it does not."""
    pay = study.pay
    if pay is None:
        return f"{value:f} {currencies[0]}, and the settings have no pay"
    if pay.currency in currencies and value in _configured_sums(study):
        return None
    code = pay.currency if pay.currency in currencies else currencies[0]
    settings = shown(pay.base_units, pay.currency)
    if pay.bonus:
        settings += f" and a bonus of at most {shown(pay.most(study.episodes), pay.currency)}"
    return f"{value:f} {code}, and the settings pay {settings}"


def _configured_sums(study: Study) -> set[Decimal]:
    """Return every sum in the settings: base, bonus and its parts, and their totals."""
    pay = study.pay
    if pay is None:
        return set()
    bonuses = {decimal_of(pay.most(study.episodes), pay.currency)}
    parts: set[Decimal] = set()
    if pay.bonus:
        bonuses |= set(pay.bonus.amounts.values())
        parts |= {value for value in (pay.bonus.each, pay.bonus.at_most) if value is not None}
    return {pay.base} | parts | bonuses | {pay.base + bonus for bonus in bonuses}


def _decimal(number: str) -> Decimal:
    """Read a number in either notation: the last mark before one or two digits is the decimal one."""
    head, mark, tail = re.fullmatch(r"(.*?)(?:([.,])(\d{1,2}))?", number).groups()  # type: ignore[union-attr]
    digits = re.sub(r"\D", "", head)
    return Decimal(f"{digits}.{tail}" if mark else digits)
