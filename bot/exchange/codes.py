"""What a venue's own error codes say, as lists of those that are known to be final; nothing else counts as final.

Every entry means: this request made no order. "clock": the time stamp was refused, and the same intent may be signed
anew. "limited": too many requests or orders. "passed": a stop or target that the price is past already. All codes that
aren't here leave the outcome unknown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

FAMILIES = {
    "binance": "binance",
    "binanceus": "binance",
    "binanceusdm": "binance",
    "bybit": "bybit",
    "okx": "okx",
    "myokx": "okx",
    "okxus": "okx",
    "kraken": "kraken",
}


@dataclass(frozen=True)
class Code:
    """A parsed code: the venue's, its text, and what it says (None: not on the list)."""

    code: str
    text: str
    why: str | None


def _table(**groups: str) -> Mapping[str, str]:
    return {code: why.replace("_", "-") for why, codes in groups.items() for code in codes.split()}


BINANCE = _table(
    funds="-2010 -2018 -2019 -2024",
    filters="-1013 -1100 -1101 -1102 -1103 -1104 -1105 -1106 -1108 -1111 -1114 -1115 -1116 -1117 -1118 -1128 -1130 "
    "-4001 -4002 -4003 -4004 -4005 -4013 -4014 -4015 -4016 -4023 -4024 -4131 -4164",
    market="-1121 -4108 -4140 -4141",
    rights="-1002 -1022 -2014 -2015",
    clock="-1021",
    limited="-1003 -1015",
    would_match="-5022",
    passed="-2021 -4142",
    other="-1020 -2020 -2022 -2023 -2025 -2027 -2028 -4045",
)
BYBIT = _table(
    funds="110004 110006 110007 110012 110014 110044 110045 110052 170131 170033",
    filters="10001 110003 110094 110095 110096 170124 170132 170133 170134 170135 170136 170137 170140 170193 170194 "
    "170207 170234",
    market="110074 110023 170121 170105 170229",
    rights="10003 10004 10005 10007 10010 33004",
    clock="10002",
    limited="10006 10018 10429",
    would_match="170218",
    passed="110092 110093",
    other="110009 110017 110020 110021 110022 110024 170213 170810",
)
OKX = _table(
    funds="51008 51127 51131 51119 51502",
    filters="51000 51003 51004 51005 51006 51020 51121 51138 51136 51137 51201 51202 51203 51205",
    market="51001 51021 51022 51027 51028 51029",
    rights="50100 50101 50103 50104 50105 50106 50107 50110 50111 50113 50114 50119 50120 51024",
    clock="50102 50112",
    limited="50011 50061 50040",
    passed="51277 51278 51279 51280",
    other="51010 51023 51112 51169 51174 51290",
)
KRAKEN = {
    "EOrder:Insufficient funds": "funds",
    "EOrder:Insufficient margin": "funds",
    "EOrder:Margin allowance exceeded": "funds",
    "EOrder:Order minimum not met": "filters",
    "EOrder:Cost minimum not met": "filters",
    "EOrder:Tick size check failed": "filters",
    "EOrder:Invalid price": "filters",
    "EGeneral:Invalid arguments": "filters",
    "EOrder:Post only order": "would-match",
    "EOrder:Orders limit exceeded": "other",
    "EOrder:Positions limit exceeded": "other",
    "EOrder:Reduce only:No position exists": "other",
    "EQuery:Unknown asset pair": "market",
    "EService:Market in cancel_only mode": "market",
    "EService:Market in post_only mode": "market",
    "EService:Market in limit_only mode": "market",
    "EAPI:Invalid key": "rights",
    "EAPI:Invalid signature": "rights",
    "EGeneral:Permission denied": "rights",
    "EAPI:Invalid nonce": "clock",
    "EAPI:Rate limit exceeded": "limited",
    "EOrder:Rate limit exceeded": "limited",
    "EGeneral:Temporary lockout": "limited",
}
# -2010 is said of many things; all but one mean that nothing was made.
_BINANCE_TEXTS = (
    ("duplicate", None),  # an order of this id stands: it may be ours
    ("immediately match", "would-match"),
    ("trigger immediately", "passed"),
    ("market is closed", "market"),
    ("not permitted", "rights"),
    ("insufficient", "funds"),
)
NOT_FOUND = {
    "binance": {"-2011", "-2013", "-2026"},
    "bybit": {"110001", "170213", "170142", "170143"},
    "okx": {"51400", "51401", "51402", "51603", "51410"},
    "kraken": {"EOrder:Unknown order", "EOrder:Invalid order"},
}
REVOKED = {
    "binance": {"-2014", "-2015"},
    "bybit": {"10003", "10010", "33004"},
    "okx": {"50100", "50101", "50105", "50110", "50111", "50119", "50120"},
    "kraken": {"EAPI:Invalid key", "EGeneral:Permission denied"},
}


def parse(family: str, status: int, body: str) -> Code | None:
    """The code in an answer; None: it carries none that can be read, or the venue isn't known here.

    A code is only taken from an answer of the shape that the venue gives codes in, never from a text.
    """
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    if not isinstance(answer, dict) or status >= 500:
        return None
    if family == "binance":
        return _binance(status, answer)
    if family == "bybit":
        return _bybit(answer)
    if family == "okx":
        return _okx(answer)
    return _kraken(answer) if family == "kraken" else None


def _binance(status: int, answer: dict[str, object]) -> Code | None:
    code, text = answer.get("code"), answer.get("msg")
    if not isinstance(code, int) or isinstance(code, bool) or not isinstance(text, str) or code >= 0 or status < 400:
        return None
    why = BINANCE.get(str(code))
    if code == -2010:
        why = next((meaning for words, meaning in _BINANCE_TEXTS if words in text.lower()), "other")
    return Code(str(code), text, why)


def _bybit(answer: dict[str, object]) -> Code | None:
    code, text = answer.get("retCode"), answer.get("retMsg")
    if not isinstance(code, int) or isinstance(code, bool) or not isinstance(text, str) or code == 0:
        return None
    return Code(str(code), text, BYBIT.get(str(code)))


def _okx(answer: dict[str, object]) -> Code | None:
    code, text, rows = answer.get("code"), answer.get("msg"), answer.get("data")
    if not isinstance(code, str) or not code.isdigit() or code == "0":
        return None
    if code in ("1", "2"):
        if not isinstance(rows, list) or len(rows) != 1 or not isinstance(rows[0], dict):
            return None
        code, text = rows[0].get("sCode"), rows[0].get("sMsg")
        if not isinstance(code, str) or code == "0":
            return None
    return Code(code, str(text or ""), OKX.get(code))


def _kraken(answer: dict[str, object]) -> Code | None:
    errors = answer.get("error")
    if not isinstance(errors, list) or len(errors) != 1 or not isinstance(errors[0], str) or answer.get("result"):
        return None
    said = errors[0]
    known = [name for name in (*KRAKEN, *NOT_FOUND["kraken"]) if said == name or said.startswith(name + ":")]
    name = max(known, key=len) if known else said
    return Code(name, said, KRAKEN.get(name))
