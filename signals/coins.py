"""The built-in table of coins: how people write them, and which of those words mean something else as well.

One line a coin: ticker | how the bare ticker counts | names | ambiguous names | handles. Names are lower case. One that
stands in "names" is nothing but this coin and counts in any case; an ambiguous one counts only with a capital and
beside a crypto cue (one with a "!" needs no cue when its capital stands inside a sentence). The bare ticker counts

- ``any``: in any case (``btc``); the ticker is no other word,
- ``upper``: in upper case, no cue needed (``BNB``),
- ``cue``: in upper case beside a crypto cue (``ADA``, which is also a law and a dentists' association),
- ``word``: as ``cue``, but the cue has to be a strong one within two words: the ticker is an everyday word (``LINK``),
- ``tag``: never bare, since even "get ONE bitcoin" speaks of no second coin.

A cashtag (``$ONE``) and a pair (``ONEUSDT``) always count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TICKER_RULES: Final = ("any", "upper", "cue", "word", "tag")

_TABLE: Final = """
BTC   | any   | bitcoin, bitcoins, xbt, satoshis | | bitcoin
ETH   | any   | ethereum, ether, etherium | | ethereum
USDT  | any   | tether usd, tether holdings, tether ceo, tether cto, tether reserves | tether! | tether_to
BNB   | upper | binance coin, binancecoin, bnb chain, bnb smart chain | | bnbchain
SOL   | cue   | solana | | solana
XRP   | any   | xrpl, xrp ledger, ripple labs, ripple sec, ripple ceo, ripple case, ripple lawsuit | ripple! | ripple
USDC  | any   | usd coin, usdcoin | |
ADA   | cue   | cardano | | cardano
DOGE  | any   | dogecoin | | dogecoin
TRX   | upper | tronix, tron network | tron | trondao
TON   | word  | toncoin | | ton_blockchain
DOT   | word  | polkadot | | polkadot
MATIC | any   | polygon matic, polygon network, matic network | polygon | 0xpolygon
POL   | cue   | polygon ecosystem token | |
LTC   | any   | litecoin | | litecoin
SHIB  | any   | shiba inu, shibainu, shib inu, shibarium | shiba | shibtoken
AVAX  | any   | avalanche avax, avalanche network | avalanche | avax
DAI   | cue   | makerdao dai, multi collateral dai | |
WBTC  | any   | wrapped bitcoin, wrapped btc | |
LINK  | word  | chainlink | | chainlink
UNI   | cue   | uniswap | | uniswap
LEO   | cue   | unus sed leo, leo token | |
ATOM  | cue   | cosmos hub, cosmos atom | cosmos | cosmos
ETC   | cue   | ethereum classic | | eth_classic
XLM   | upper | stellar lumens, stellar lumen | stellar | stellarorg
XMR   | any   | monero | | monero
BCH   | any   | bitcoin cash, bitcoincash, bcash | |
OKB   | upper | okb token | |
FIL   | cue   | filecoin | | filecoin
HBAR  | upper   | hedera hashgraph, hedera | | hedera
LDO   | cue   | lido dao, lido finance | lido | lidofinance
APT   | cue   | aptos | | aptos
ARB   | cue   | arbitrum | | arbitrum
CRO   | cue   | cronos chain, crypto.com coin | cronos | cronos_chain
VET   | cue   | vechain | | vechainofficial
NEAR  | word  | near protocol | | nearprotocol
QNT   | upper | quant network | | quant_network
ICP   | cue   | internet computer, dfinity | | dfinity
OP    | word  | optimism token, optimism network, optimism mainnet | optimism | optimism
GRT   | cue   | the graph token | the graph | graphprotocol
APE   | word  | apecoin | | apecoin
ALGO  | cue   | algorand | | algorand
SAND  | word  | sandbox token | the sandbox | thesandboxgame
MANA  | cue   | decentraland | | decentraland
AAVE  | any   | aave protocol | | aave
EOS   | cue   | eosio | |
QTUM  | any   | | |
FTM   | cue   | fantom network, fantom ftm | fantom | fantomfdn
STX   | cue   | stacks stx, blockstack | stacks | stacks
EGLD  | any   | elrond, multiversx | | multiversx
THETA | cue   | theta network, theta token | | theta_network
XTZ   | any   | tezos | | tezos
AXS   | cue   | axie infinity | | axieinfinity
IMX   | cue   | immutable x, immutablex | immutable | immutable
FLOW  | word  | flow blockchain | |
NEO   | cue   | neo blockchain, antshares | |
CHZ   | cue   | chiliz | | chiliz
KLAY  | upper   | klaytn | |
MKR   | cue   | makerdao, maker dao, maker protocol, maker token, maker governance | | makerdao
SNX   | upper | synthetix | | synthetix_io
CRV   | cue   | curve finance, curve dao | curve | curvefinance
RPL   | cue   | rocket pool | | rocket_pool
INJ   | cue   | injective protocol, injective | | injective
SUI   | cue   | sui network, sui blockchain | | suinetwork
SEI   | cue   | sei network | | seinetwork
TIA   | cue   | celestia network, celestia tia | celestia | celestia
KAS   | cue   | kaspa | | kaspacurrency
RUNE  | word  | thorchain | | thorchain
CAKE  | word  | pancakeswap | | pancakeswap
LUNA  | cue   | terra luna, terraluna, luna 2.0 | terra | terra_money
LUNC  | any   | terra classic, luna classic | |
UST   | cue   | terrausd, terra usd | |
FTT   | cue   | ftx token | |
ZEC   | cue   | zcash | | zcash
DASH  | word  | dashcoin | | dashpay
BSV   | upper | bitcoin sv, bitcoin satoshi vision, bitcoinsv | |
BTG   | cue   | bitcoin gold | |
IOTA  | word  | iota token, miota | | iota
KAVA  | cue   | kava network, kava labs | |
ZIL   | cue   | zilliqa | | zilliqa
ENJ   | cue   | enjin coin, enjin | | enjin
BAT   | word  | basic attention token | | attentiontoken
COMP  | word  | compound finance, compound protocol | | compoundfinance
YFI   | upper | yearn finance, yearn.finance | yearn | yearnfi
SUSHI | word  | sushiswap | | sushiswap
1INCH | any   | 1inch network, 1inch exchange | | 1inch
ENS   | cue   | ethereum name service | | ensdomains
DYDX  | any   | | | dydx
GMX   | cue   | | |
WAVES | word  | waves platform | |
XEM   | upper | nem coin | |
XDC   | upper | xdc network, xinfin | |
HNT   | cue   | helium network, helium hnt | helium | helium
ONE   | tag   | harmony one, harmony protocol | harmony | harmonyprotocol
HOT   | tag   | holochain | | holochain
CELO  | upper   | celo network | |
GALA  | word  | gala games, gala token | | gogalagames
ROSE  | word  | oasis network, oasis protocol | | oasisprotocol
KSM   | cue   | kusama network, kusama | |
ZRX   | upper | 0x protocol | |
BAND  | tag   | band protocol | |
OCEAN | word  | ocean protocol | | oceanprotocol
AR    | tag   | arweave | | arweaveeco
RENDER| word  | render token, render network | | rendernetwork
RNDR  | any   | | |
FET   | cue   | fetch.ai, fetchai | | fetch_ai
AGIX  | any   | singularitynet | |
TAO   | cue   | bittensor | | opentensor
WLD   | cue   | worldcoin | | worldcoin
PEPE  | cue   | pepe coin, pepecoin | pepe | pepecoineth
FLOKI | any   | floki inu | | realflokiinu
BONK  | cue   | bonk inu, bonk coin | | bonk_inu
WIF   | cue   | dogwifhat | |
NOT   | tag   | notcoin | |
PEOPLE| tag   | constitutiondao | |
TIME  | tag   | wonderland time, chrono.tech | |
GAS   | tag   | neo gas | |
JUP   | cue   | jupiter exchange, jupiter dex | jupiter | jupiterexchange
PYTH  | cue   | pyth network | | pythnetwork
ONDO  | cue   | ondo finance | | ondofinance
ENA   | cue   | ethena | | ethena_labs
HYPE  | word  | hyperliquid | | hyperliquidx
DYM   | cue   | dymension | |
STRK  | cue   | starknet | | starknet
BTT   | cue   | bittorrent token | |
TUSD  | any   | trueusd | |
BUSD  | any   | binance usd | |
FRAX  | any   | | |
PYUSD | any   | paypal usd | |
GUSD  | any   | gemini dollar | |
SAFEMOON | any | safe moon token | |
CEL   | cue   | celsius token | |
DCR   | cue   | decred | |
RVN   | cue   | ravencoin | |
SC    | tag   | siacoin | |
NEXO  | upper   | | |
ZEN   | tag   | horizen | |
ICX   | upper | icon network | |
ONT   | upper | ontology network, ontology coin | |
DGB   | upper | digibyte | |
OMG   | tag   | omg network, omisego | |
LRC   | cue   | loopring | | loopringorg
CVX   | cue   | convex finance | |
STETH | any   | lido staked ether, staked ether | |
"""

STABLE: Final = frozenset({"USDT", "USDC", "DAI", "TUSD", "BUSD", "FRAX", "PYUSD", "GUSD", "UST"})
"""Coins that quote others: right after another ticker (``SOL/USDT``) they are the quote, not what the post is about."""


@dataclass(frozen=True, slots=True)
class Coin:
    """One coin and how it is written; see the module for the ticker rules. Names and handles are lower case."""

    ticker: str
    rule: str
    names: tuple[str, ...] = ()
    ambiguous_names: tuple[str, ...] = ()
    proper_names: tuple[str, ...] = ()
    handles: tuple[str, ...] = ()


def _words(cell: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in cell.split(",") if word.strip())


def _coin(line: str) -> Coin:
    ticker, rule, names, ambiguous, handles = (cell.strip() for cell in line.split("|"))
    unsure = _words(ambiguous)
    return Coin(
        ticker,
        rule,
        names=_words(names),
        ambiguous_names=tuple(name for name in unsure if not name.endswith("!")),
        proper_names=tuple(name.removesuffix("!") for name in unsure if name.endswith("!")),
        handles=_words(handles),
    )


COINS: Final[dict[str, Coin]] = {coin.ticker: coin for coin in (_coin(line) for line in _TABLE.strip().splitlines())}
