"""Symbols of companies: one spelling for the many notations of feeds (KSTR.US, R:KSTR.N, NYSE:KSTR, BRK-B, 0700.HK)."""

from __future__ import annotations

import re
from functools import lru_cache
from unicodedata import normalize

# Market -> how symbols name it: Yahoo's, EODHD's and RICs' endings, Bloomberg's codes, names before a colon.
# What one letter or code would mean elsewhere too ("TSE" is Toronto and Tokyo) is left out.
_MARKETS: dict[str, tuple[str, str, str]] = {
    "": (
        "US N O OQ K PK OB NYSE NASDAQ",
        "US UN UW UQ UR UA UP UV UF",
        "US NYSE NASDAQ AMEX NYSEAMERICAN NYSEARCA ARCA BATS CBOE OTC OTCMKTS OTCQX OTCQB XNYS XNAS XASE ARCX",
    ),
    "LON": ("L LN LON LSE", "LN", "LSE LON AIM XLON"),
    "TSX": ("TO", "CN CT", "TSX XTSE"),
    "TSXV": ("V", "CV", "TSXV XTSX"),
    "HK": ("HK", "HK", "HKEX HKG SEHK HKSE XHKG"),
    "TYO": ("T JP TYO", "JP JT", "TYO XTKS JPX"),
    "DE": ("DE F XETRA", "GR GY GF", "FRA ETR XETRA XETR XFRA"),
    "PAR": ("PA", "FP", "EPA XPAR"),
    "AMS": ("AS", "NA", "AMS XAMS"),
    "BRU": ("BR", "BB", "EBR XBRU"),
    "LIS": ("LS", "PL", "ELI XLIS"),
    "MIL": ("MI", "IM", "BIT XMIL"),
    "MAD": ("MC", "SM", "BME XMAD"),
    "SWX": ("SW S VX", "SW SE VX", "SWX SIX XSWX"),
    "STO": ("ST", "", "STO XSTO"),
    "CPH": ("CO", "DC", "CPH XCSE"),
    "OSL": ("OL", "NO", "OSL XOSL"),
    "HEL": ("HE", "FH", "HEL XHEL"),
    "VIE": ("VI", "AV", "WBAG XWBO"),
    "DUB": ("IR", "ID", "XDUB"),
    "WAW": ("WA", "PW", "WSE XWAR"),
    "IST": ("IS", "TI", "BIST XIST"),
    "ASX": ("AX AU", "AU AT", "ASX XASX"),
    "NZX": ("NZ", "NZ", "NZX NZE XNZE"),
    "IN": ("NS BO NSE BSE", "IN IS IB", "NSE BSE BOM XNSE XBOM"),
    "SHA": ("SS SH SHG", "CG", "SHA SSE SHSE XSHG"),
    "SHE": ("SZ SHE", "CS", "SHE SZSE XSHE"),
    "KRX": ("KS KQ KO", "KS KP KQ", "KRX KOSDAQ XKRX XKOS"),
    "TPE": ("TW TWO", "TT", "TPE TWSE XTAI"),
    "SGX": ("SI SG", "SP", "SGX XSES"),
    "JSE": ("JO JSE", "SJ", "JSE XJSE"),
    "SAO": ("SA", "BZ BS", "BVMF XBSP"),
    "MEX": ("MX", "MM", "BMV XMEX"),
}
_BY_ENDING = {ending: market for market, (endings, _, _) in _MARKETS.items() for ending in endings.split()}
_BY_BLOOMBERG = {code: market for market, (_, codes, _) in _MARKETS.items() for code in codes.split()}
_BY_NAME = {name: market for market, (_, _, names) in _MARKETS.items() for name in names.split()}

CLASS_SEPARATORS = "./-"
"""Between a symbol and its class of share: BRK.B, BRK/B, BRK-B."""
KINDS = ("ISIN", "FIGI", "CUSIP", "SEDOL", "RIC", "SYMBOL")
"""What may stand before a symbol and a colon, in a watchlist and in messages."""
_KIND = re.compile(rf"(?:{'|'.join(KINDS)}|R|TICKER) ?: ?", re.IGNORECASE)
_CLASS = re.compile(r"([A-Z]{1,5})[-/. ]([A-Z])")
_ASSET = re.compile(r" (?:EQUITY|INDEX|CORP|COMDTY|CURNCY)$")
_LONGEST = 40  # characters of a symbol; anything longer is none and only itself


def canonical(symbol: str) -> str:
    """One spelling for every notation of one share in one market; of a US share it names no market.

    ``KSTR``, ``KSTR.US``, ``R:KSTR.N``, ``NYSE:KSTR`` and ``KSTR US Equity`` are one, so are ``700.HK``, ``0700.HK``
    and ``HKEX:700``; ``BRK-B``, ``BRK/B`` and ``BRK.B`` too. ``KSTR.L`` is another share, and ``700`` alone is none.
    """
    return _canonical(symbol) if len(symbol) <= _LONGEST else symbol


@lru_cache(maxsize=16_384)
def _canonical(symbol: str) -> str:
    symbol = " ".join(normalize("NFKC", symbol).upper().split()).lstrip("$")
    if kind := _KIND.match(symbol):
        symbol = symbol[kind.end() :]
    root, market = _market_of(_ASSET.sub("", symbol))
    if market == "HK":
        root = root.lstrip("0") or root
    if share := _CLASS.fullmatch(root):
        root = f"{share[1]}/{share[2]}"
    return f"{root}@{market}" if market else root


def _market_of(symbol: str) -> tuple[str, str]:
    """(symbol without its market, market): nothing for the US and for symbols that name none."""
    name, _, rest = symbol.partition(":")
    if rest and name in _BY_NAME:
        return _without_ending(rest.lstrip(), _BY_NAME[name]), _BY_NAME[name]
    for separator, markets in ((":", _BY_BLOOMBERG), (" ", _BY_BLOOMBERG), (".", _BY_ENDING)):
        root, _, ending = symbol.rpartition(separator)
        if root and ending in markets:
            return root, markets[ending]
    return symbol, ""


def _without_ending(symbol: str, market: str) -> str:
    """HKEX:0700.HK names its market twice."""
    root, _, ending = symbol.rpartition(".")
    return root if root and _BY_ENDING.get(ending) == market else symbol
