"""The built-in table of coins: how people write them, and which of those words mean something else as well.

One line a coin: ticker | how the bare ticker counts | names | ambiguous names | handles. Names are lower case. One that
stands in "names" is nothing but this coin and counts in any case; an ambiguous one counts only with a capital and
beside a crypto cue (one with a "!" needs no cue when its capital stands inside a sentence). The bare ticker counts

- ``any``: in any case (``btc``); the ticker is no other word,
- ``upper``: in upper case, no cue needed (``BNB``),
- ``cue``: in upper case beside a crypto cue (``ADA``, which is also a law and a dentists' association),
- ``word``: as ``cue``, but the cue has to be a strong one within two words: the ticker is an everyday word (``LINK``),
- ``tag``: never bare, since even "get ONE bitcoin" speaks of no second coin,
- ``stock``: never bare, and as a cashtag beside a crypto cue only: ``$T`` is a telephone company.

Otherwise a cashtag (``$ONE``), a pair (``ONEUSDT``) and a contract's address (`signals.addresses`) always count. The
table holds the two hundred largest coins of today and those that once were, since old posts are scored as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from signals.addresses import ADDRESSES

TICKER_RULES: Final = ("any", "upper", "cue", "word", "tag", "stock")

_TABLE: Final = """
BTC   | any   | bitcoin, bitcoins, bitcoiner, bitcoiners, xbt, satoshis | | bitcoin
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
LUNA  | cue   | terra luna, terraluna, luna 2.0, luna foundation, luna foundation guard | terra | terra_money
LUNC  | any   | terra classic, luna classic, terra luna classic | |
UST   | cue   | terrausd, terra usd, ustc, terraclassicusd | |
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
WETH  | any   | wrapped ether | |
XAUT  | any   | tether gold | | tethergold
PAXG  | any   | pax gold, paxos gold | |
FDUSD | any   | first digital usd | |
USDE  | any   | ethena usde | |
USDD  | any   | | |
LUSD  | any   | liquity usd | |
EURC  | cue   | euro coin, euroc | |
USDN  | upper | neutrino usd | |
MIM   | tag   | mim stablecoin | magic internet money |
FEI   | cue   | fei usd, fei protocol | |
HEX   | word  | | |
MNT   | cue   | mantle network, mantle token | mantle | mantle_official
KCS   | upper | kucoin token | |
BGB   | cue   | bitget token | |
HT    | stock | huobi token | |
GT    | stock | gatetoken | |
MX    | tag   | mx token | |
TWT   | upper | trust wallet token | |
WBT   | cue   | whitebit coin | |
XCN   | cue   | onyxcoin | |
FLR   | cue   | flare network, flare token | | flarenetworks
CFX   | cue   | conflux network | conflux | conflux_network
MINA  | cue   | mina protocol | | minaprotocol
CKB   | cue   | nervos network, nervos ckb | nervos | nervosnetwork
ASTR  | upper | astar network | | astarnetwork
AKT   | cue   | akash network | | akashnet_
JASMY | any   | jasmycoin | | jasmymgt
GNO   | cue   | gnosis chain, gnosis safe | gnosis | gnosischain
XEC   | upper | bitcoin cash abc | |
AXL   | cue   | axelar network, axelar | | axelar
OSMO  | any   | osmosis dex, osmosis zone | osmosis | osmosiszone
JUNO  | cue   | juno network | juno | junonetwork
EVMOS | any   | | | evmosorg
SCRT  | upper | secret network | | secretnetwork
ANC   | cue   | anchor protocol | | anchor_protocol
MIR   | tag   | mirror protocol | |
ZK    | tag   | zksync | | zksync
ZRO   | cue   | layerzero, layer zero | | layerzero_core
W     | stock | wormhole token | |
JTO   | upper | jito network, jito sol | jito | jito_sol
PENDLE| upper | pendle finance | pendle | pendle_fi
ETHFI | any   | ether.fi | | ether_fi
EIGEN | upper | eigenlayer | | eigenlayer
AERO  | cue   | aerodrome finance | aerodrome | aerodromefi
RAY   | word  | raydium | | raydiumprotocol
ORCA  | tag   | orca dex | | orca_so
DRIFT | tag   | drift protocol | | driftprotocol
IO    | tag   | io.net | |
TNSR  | upper | tensor nft | |
ORDI  | upper | ordinals token | |
SATS  | tag   | 1000sats | |
BLUR  | word  | blur token, blur marketplace | |
LOOKS | tag   | looksrare | | looksrare
POPCAT| any   | | |
BRETT | tag   | based brett, brett token | |
MOG   | cue   | mog coin | |
TURBO | tag   | turbo token | |
NEIRO | upper | neirocto | |
PNUT  | upper | peanut the squirrel token | |
GOAT  | tag   | goatseus maximus | |
MEW   | tag   | cat in a dogs world | |
BOME  | upper | book of meme | |
FARTCOIN | any | | |
TRUMP | tag   | official trump, trump memecoin, trump meme coin, trump coin | |
MELANIA | tag | melania memecoin, melania meme coin | |
MOODENG | any | moo deng token | |
VIRTUAL | tag | virtuals protocol | | virtuals_io
AI16Z | any   | | |
SPX   | stock | spx6900 | |
KAITO | upper | kaito token | | kaitoai
PUMP  | tag   | pump.fun token, pumpfun token | |
KAIA  | upper | kaia chain | |
S     | stock | sonic labs, fantom sonic | | soniclabs
BERA  | cue   | berachain | | berachain
IP    | stock | story protocol | | storyprotocol
PI    | stock | pi network, pi coin | | picoreteam
WLFI  | any   | world liberty financial | | worldlibertyfi
OM    | tag   | mantra dao, mantra chain | | mantra_chain
MANTA | word  | manta network | | mantanetwork
ALT   | tag   | altlayer | |
STG   | cue   | stargate finance | | stargatefinance
RON   | tag   | ronin network, ronin bridge | | ronin_network
ZETA  | tag   | zetachain | | zetablockchain
SAGA  | tag   | saga token | |
PRIME | tag   | echelon prime | |
ARKM  | upper | arkham intelligence | | arkham
MASK  | tag   | mask network | | realmasknetwork
SSV   | upper | ssv network | | ssv_network
FXS   | upper | frax share | |
SPELL | tag   | abracadabra.money, abracadabra money | |
OHM   | cue   | olympusdao, olympus dao | | olympusdao
BTRFLY| any   | redacted cartel | |
BADGER| tag   | badgerdao, badger dao | |
FARM  | tag   | harvest finance | | harvest_finance
PICKLE| tag   | pickle finance | |
ALPHA | tag   | alpha finance lab, alpha homora | |
BOND  | tag   | barnbridge | |
KP3R  | any   | keep3r | |
XVS   | upper | venus protocol | | venusprotocol
POLS  | upper | polkastarter | | polkastarter
ORAI  | any   | oraichain | | oraichain
SXP   | upper | swipe token | |
JOE   | tag   | trader joe xyz | | traderjoe_xyz
QI    | tag   | benqi | |
BAKE  | tag   | bakeryswap | |
BAL   | tag   | balancer protocol, balancer labs, balancer pool | balancer | balancer
KNC   | upper | kyber network, kyberswap | | kybernetwork
UMA   | word  | uma protocol | | umaprotocol
REN   | tag   | ren protocol, renvm | |
BNT   | cue   | bancor | | bancor
LPT   | cue   | livepeer | | livepeer
RLC   | cue   | iexec | | iex_ec
NMR   | upper | numeraire | |
REP   | tag   | augur | | augurproject
PERP  | tag   | perpetual protocol | | perpprotocol
API3  | any   | | |
SKL   | cue   | skale network | skale | skalenetwork
CELR  | upper | celer network | | celernetwork
CTSI  | upper | cartesi | | cartesiproject
ANKR  | any   | | | ankr
GLM   | cue   | golem network | golem | golemproject
STORJ | any   | | | storj
RSR   | upper | reserve rights | |
REQ   | cue   | request network | | requestnetwork
POWR  | upper | powerledger, power ledger | |
CVC   | cue   | civic token | |
OGN   | cue   | origin protocol | | originprotocol
T     | stock | threshold network | |
AMP   | tag   | flexa amp | |
SUPER | tag   | superfarm, superverse | |
AUDIO | tag   | audius | | audius
ALICE | tag   | my neighbor alice | |
TLM   | cue   | alien worlds | | alienworlds
ILV   | cue   | illuvium | | illuviumio
YGG   | upper | yield guild games | | yieldguild
SLP   | cue   | smooth love potion | |
MAGIC | tag   | treasure dao, treasuredao | |
GMT   | tag   | stepn, green metaverse token | | stepnofficial
MC    | stock | merit circle | |
CHR   | cue   | chromia | | chromia
WAXP  | any   | wax blockchain | |
XYO   | upper | xyo network | |
IOTX  | any   | iotex | | iotex_io
IOST  | any   | | |
TFUEL | any   | theta fuel | |
VTHO  | any   | vethor | |
JST   | upper | just foundation | | defi_just
SUN   | tag   | sun.io | |
WIN   | tag   | winklink | |
KLV   | cue   | klever coin | | klever_io
KDA   | upper | kadena | | kadena_io
ERG   | cue   | ergo platform, ergo blockchain | |
CSPR  | upper | casper network | | casper_network
ELF   | tag   | aelf | |
LSK   | upper | lisk | | liskhq
STRAX | any   | stratis | | stratisplatform
NANO  | word  | nano xno, raiblocks | | nano
XNO   | upper | | |
XVG   | upper | verge currency, vergecoin | | vergecurrency
HIVE  | stock | hive token | |
STEEM | any   | steemit token | |
BTS   | tag   | bitshares | | bitshares
PPC   | tag   | peercoin, ppcoin | |
NMC   | tag   | namecoin | | namecoin
MAID  | tag   | maidsafecoin, maidsafe | |
BCN   | cue   | bytecoin | |
DENT  | tag   | dent coin | |
POLYX | any   | polymesh | |
WOO   | tag   | woo network | | woonetwork
"""

STABLE: Final = frozenset(
    {
        "USDT",
        "USDC",
        "DAI",
        "TUSD",
        "BUSD",
        "FRAX",
        "PYUSD",
        "GUSD",
        "UST",
        "FDUSD",
        "USDE",
        "USDD",
        "LUSD",
        "USDN",
        "EURC",
    }
)
"""Coins that quote others: right after another ticker (``SOL/USDT``) they are the quote, not what the post is about."""


@dataclass(frozen=True, slots=True)
class Coin:
    """One coin and how it is written; see the module for the ticker rules. All but the ticker is lower case."""

    ticker: str
    rule: str
    names: tuple[str, ...] = ()
    ambiguous_names: tuple[str, ...] = ()
    proper_names: tuple[str, ...] = ()
    handles: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


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
        addresses=ADDRESSES.get(ticker, ()),
    )


COINS: Final[dict[str, Coin]] = {coin.ticker: coin for coin in (_coin(line) for line in _TABLE.strip().splitlines())}
