"""Linking posts to coins: the rules, the table, the alias file, hostile texts."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError, InputErrors
from signals.addresses import ADDRESSES
from signals.aliases import read_aliases
from signals.coins import COINS, STABLE, TICKER_RULES
from signals.entities import Linker, Links
from signals.text import TEXT_CHARS_MAX, normalise, text_key

LINKER = Linker()


def coins(text: str) -> tuple[str, ...]:
    return LINKER.link(text).coins


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Bitcoin slides below 40k", ("BTC",)),
        ("btc and ETH, then $sol", ("BTC", "ETH", "SOL")),
        ("#Bitcoin #DOGE", ("BTC", "DOGE")),
        ("Bitcoin's hash rate; (ethereum) gas", ("BTC", "ETH")),
        ("thanks @Solana and @nobody_solana", ("SOL",)),
        ("BNB burn done", ("BNB",)),
        ("bnb for the weekend in Rome", ()),
        ("whether something ethical happens", ()),
        ("the abtc and btcx of it", ()),
        ("El Salvador's Bitcoiners", ("BTC",)),
        ("Bítcoin and Ethéreum", ("BTC", "ETH")),
        ("vitalik.eth minted it", ()),
        ("₿itcoin at $100,000", ("BTC",)),
        ("0xdAC17F958D2ee523a2206206994597C13D831ec7 unlocked", ("USDT",)),
        ("ca: DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263", ("BONK",)),
        ("0xdAC17F958D2ee523a2206206994597C13D831ec8 unlocked", ()),
    ],
)
def test_names_tickers_and_handles(text: str, expected: tuple[str, ...]) -> None:
    assert coins(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ADA token unlock tomorrow", ("ADA",)),
        ("The ADA protects people with disabilities", ()),
        ("ada token", ()),
        ("loading up on SOL, great chart", ("SOL",)),
        ("SOL is the sun in Spanish", ()),
        ("BTC ETH SOL LINK all green", ("BTC", "ETH", "SOL", "LINK")),
        ("LINK in the description, crypto fans", ()),
        ("$ONE pumps", ("ONE",)),
        ("you need just ONE bitcoin", ("BTC",)),
        ("NOT a token to hold, Satoshi is NOT here", ()),
        ("$PEOPLE and $NOT", ("PEOPLE", "NOT")),
        ("$T pays a dividend", ()),
        ("$T staking is live", ("T",)),
        ("tBTC and sBTC and altbtc", ()),
    ],
)
def test_an_ambiguous_ticker_needs_a_cue(text: str, expected: tuple[str, ...]) -> None:
    assert coins(text) == expected


def test_capitals_say_nothing_in_a_post_that_shouts() -> None:
    assert coins("WE ARE ALL IN ON THIS TOKEN NEAR THE TOP AND ADA SAYS SO") == ()
    assert coins("WE ARE ALL IN ON BITCOIN AND $NEAR NOW FRIENDS") == ("BTC", "NEAR")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Avalanche and Solana fees compared", ("AVAX", "SOL")),
        ("Avalanche kills two skiers", ()),
        ("an avalanche of crypto scams", ()),
        ("SEC drops its case against Ripple", ("XRP",)),
        ("the ripple effect of bitcoin", ("BTC",)),
        ("Stellar earnings lift the stock, says a crypto desk", ()),
        ("bitcoin cash splits again", ("BCH",)),
        ("ethereum classic beats ethereum", ("ETC", "ETH")),
        ("I sold my bitcoin. Cash is king", ("BTC",)),
        ("bitcoin, cash and gold", ("BTC",)),
        ("Latest price (ETH/USD) - Coin Rivet", ("ETH",)),
        ("Tether Cuts Commercial Paper", ("USDT",)),
        ("Tether your phone to it", ()),
        ("Polygon hard fork explained", ("MATIC",)),
    ],
)
def test_names_that_mean_other_things_too(text: str, expected: tuple[str, ...]) -> None:
    assert coins(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SOL/USDT breaks out", ("SOL",)),
        ("long ETH-USDC here", ("ETH",)),
        ("SOLUSDT and ONE_USDT and ETHBTC", ("SOL", "ONE", "ETH")),
        ("USDT supply grows", ("USDT",)),
        ("Bitcoin, Ether, Tether stolen", ("BTC", "ETH", "USDT")),
        ("BINANCE:BTCUSDT idea", ("BTC",)),
        ("we take BTC/ETH/USDT", ("BTC", "ETH", "USDT")),
        ("BTC/USDT ETH/USDT SOL/USDT", ("BTC", "ETH", "SOL")),
        ("#Bitcoin #USDT #XRP", ("BTC", "USDT", "XRP")),
    ],
)
def test_the_quote_of_a_pair_is_not_what_the_post_is_about(text: str, expected: tuple[str, ...]) -> None:
    assert coins(text) == expected


def test_spam_like_is_four_different_cashtags() -> None:
    assert LINKER.link("$BTC $ETH $SOL $GEM to the moon").spam
    assert not LINKER.link("$BTC $ETH $SOL").spam
    assert not LINKER.link("$BTC $btc $BTC $BTC held since 2017").spam
    assert not LINKER.link("$10 $20 $30 $40 for bitcoin").spam


@pytest.mark.parametrize(
    ("text", "market"),
    [
        ("The crypto market is bleeding", True),
        ("Altcoins follow bitcoin down", True),
        ("crypto is dead", True),
        ("Is bitcoin the best crypto?", False),
        ("the bitcoin market is thin", False),
        ("good morning", False),
        ("Crypto Price Today: Bitcoin slips", True),
        ("crypto libraries to learn from", False),
    ],
)
def test_market_wide(text: str, market: bool) -> None:
    assert LINKER.link(text).market is market


def test_web_addresses_name_no_coin() -> None:
    assert coins("see https://example.org/bitcoin-news?x=$ETH and www.solana.example") == ()
    assert coins("Ethereum:https://t.co/bitcoin up") == ("ETH",)


@pytest.mark.parametrize(
    "text",
    [
        "Вitсоin",
        "Bit\u200bcoin",
        "\u202eBitcoin",
        "B\u0336i\u0336tcoin",
        "Ｂｉｔｃｏｉｎ",
        "𝗕𝗶𝘁𝗰𝗼𝗶𝗻",
        "Bit&shy;coin",
        "<b>Bitcoin</b>",
    ],
)
def test_disguises_are_seen_through(text: str) -> None:
    assert coins(f"so {text} it is") == ("BTC",)


def test_normal_form() -> None:
    assert normalise("a&amp;b  <p>c</p>\n&lt;i&gt;d&lt;/i&gt;") == "a&b c d"
    assert normalise("1 < 2 and 3 > 2, I <3 it") == "1 < 2 and 3 > 2, I <3 it"
    assert normalise("x<script>alert('bitcoin')</script>y<!-- z -->") == "x y"
    assert normalise("биткоин растёт, ну да") == "биткоин растёт, ну да"
    assert normalise("a\x00b\ud800c\u2069") == "abc"
    assert normalise("İstanbul") == "Istanbul"
    assert text_key(normalise("A  b")) == text_key("A b") != text_key("a b")
    assert len(text_key("")) == 16


@given(st.text(alphabet=st.characters(), max_size=80))
def test_any_text_is_linked_without_a_crash(text: str) -> None:
    normal = normalise(text)
    assert normalise(normal) == normal
    links = LINKER.link(text)
    assert LINKER.link_normal(normal) == links
    assert set(links.coins) <= set(COINS)


@pytest.mark.parametrize(
    "text",
    ["", "\x00" * 100, "\ud83d\ud83d", "🚀" * 5000, "<" * 50_000, "<script>" * 20_000, "&lt;" * 50_000, "$" * 70_000,
     "ADA token " * 7_000, "ADA DOT " * 8_000, "bitcoin" * 1_500_000, "比特币" * 30_000],
)  # fmt: skip
def test_hostile_texts_cost_little(text: str) -> None:
    links = LINKER.link(text)
    assert len(normalise(text)) <= TEXT_CHARS_MAX
    assert set(links.coins) <= {"ADA", "DOT"}


def test_many_is_the_same_as_one_by_one() -> None:
    texts = ["Bitcoin", "", "crypto", "$BTC $ETH $SOL $ADA"]
    assert LINKER.link_many(texts) == [LINKER.link(text) for text in texts]
    assert LINKER.link("") == Links((), False, False)


def test_the_table_is_sound() -> None:
    assert len(COINS) >= 200
    ambiguous = ("SOL", "ONE", "NEAR", "LINK", "ICP", "APE", "GAS", "NOT", "PEOPLE")
    assert {COINS[ticker].rule for ticker in ambiguous} <= {"cue", "word", "tag"}
    assert {coin.rule for coin in COINS.values()} <= set(TICKER_RULES)
    assert set(COINS) >= STABLE
    readings = [
        word
        for coin in COINS.values()
        for word in (*coin.names, *coin.ambiguous_names, *coin.proper_names, *(f"@{handle}" for handle in coin.handles))
    ] + [address for coin in COINS.values() for address in coin.addresses]
    assert len(readings) == len(set(readings))
    assert all(word == word.lower().strip() for word in readings)
    assert set(ADDRESSES) <= set(COINS)
    assert all(ADDRESS.fullmatch(address) for coin in COINS.values() for address in coin.addresses)


ADDRESS = re.compile(r"0x[0-9a-f]{40}|[1-9a-z]{32,44}")


def aliases(folder: Path, content: str) -> Path:
    path = folder / "aliases.toml"
    path.write_text(content, encoding="utf-8")
    return path


def test_alias_file(tmp_path: Path) -> None:
    path = aliases(
        tmp_path,
        '[BTC]\nnames = ["corn", "比特币"]\nhandles = ["@Saylor"]\ndrop = ["satoshis"]\n'
        f'[SOL]\nticker = "upper"\n[XYZ1]\nnames = ["xyz one"]\nambiguous = ["Xylo"]\naddresses = ["0x{"aB" * 20}"]\n',
    )
    linker = Linker.with_aliases(path)
    assert linker.link("corn season").coins == ("BTC",)
    assert linker.link("買比特币吧").coins == ("BTC",)
    assert linker.link("as @saylor said").coins == ("BTC",)
    assert linker.link("fifty satoshis").coins == ()
    assert linker.link("SOL in the sky").coins == ("SOL",)
    assert linker.link("XYZ One is here").coins == ("XYZ1",)
    assert linker.link("Xylo phones").coins == ()
    assert linker.link("Xylo staking").coins == ("XYZ1",)
    assert linker.link("XYZ1 staking").coins == ("XYZ1",)
    assert linker.link(f"0x{'ab' * 20} launched").coins == ("XYZ1",)
    assert linker.link("bitcoin").coins == ("BTC",)
    assert linker.identity != LINKER.identity
    assert Linker().identity == LINKER.identity


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('[BTC]\nname = ["corn"]', ["BTC.name", "unknown key", "names, handles"]),
        ('[BTC]\nnames = "corn"', ["BTC.names", "'corn'", "list of texts"]),
        ('[BTC]\nnames = [" "]', ["an empty name"]),
        ('[btc]\nnames = ["corn"]', ["btc", "[BTC]"]),
        ('names = ["corn"]', ["outside a coin's table"]),
        ('[BTC]\nticker = "loud"', ["BTC.ticker", "'loud'", "any, upper, cue"]),
        ('[BTC]\nhandles = ["@a b"]', ["not a handle"]),
        ('[BTC]\naddresses = ["0x12"]', ["BTC.addresses", "not an address", "40 hex digits"]),
        ('[UNI]\naddresses = ["0xdac17f958d2ee523a2206206994597c13d831ec7"]', ["names two coins", "USDT"]),
        ('[BTC]\ndrop = ["corn"]', ["not in the built-in table", "bitcoins"]),
        ('[ETH]\nnames = ["bitcoin"]', ["'bitcoin'", "BTC and ETH", "drop"]),
        ("[BTC\n", ["not valid TOML", "line 1"]),
    ],
)
def test_alias_errors_name_file_key_and_remedy(tmp_path: Path, content: str, said: list[str]) -> None:
    path = aliases(tmp_path, content)
    with pytest.raises(InputError) as caught:
        read_aliases(path)
    assert all(part in str(caught.value) for part in [str(path), *said])


def test_alias_errors_come_all_at_once(tmp_path: Path) -> None:
    path = aliases(tmp_path, '[BTC]\nfoo = 1\nnames = 3\n[ETH]\nhandles = ["?"]\n')
    with pytest.raises(InputErrors) as caught:
        read_aliases(path)
    assert len(caught.value.errors) == 3


def test_alias_file_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such alias file"):
        read_aliases(tmp_path / "none.toml")
    with pytest.raises(InputError, match="is a folder"):
        read_aliases(tmp_path)
    bad = tmp_path / "latin.toml"
    bad.write_bytes(b"[BTC]\nnames = ['\xe9']\n")
    with pytest.raises(InputError, match="not UTF-8"):
        read_aliases(bad)
