"""Words that tell a crypto post from others: cues for ambiguous tickers, phrases for the market, what is no coin."""

from __future__ import annotations

from typing import Final


def _phrases(block: str) -> tuple[str, ...]:
    return tuple(phrase.strip() for phrase in block.replace("\n", ",").split(",") if phrase.strip())


STRONG_CUES: Final = _phrases("""
    token, tokens, tokenomics, altcoin, altcoins, memecoin, memecoins, stablecoin, stablecoins, coin, coins, blockchain,
    defi, nft, nfts, web3, staking, staked, restaking, validator, validators, mainnet, testnet, airdrop, airdrops, dex,
    dapp, dapps, smart contract, smart contracts, layer 1, layer 2, l1, l2, hodl, hodling, hodlers, on chain, onchain,
    tvl, binance, coinbase, kraken, kucoin, bybit, okx, okex, bitfinex, bitstamp, huobi, ftx, gate io, bitmex, deribit,
    coinmarketcap, coingecko, metamask, ledger wallet, whale alert, perp, perps, perpetuals, spot etf,
    rugpull, rug pull, halving, gas fees, crypto, cryptos, cryptocurrency, cryptocurrencies, hard fork, hardfork,
    cross chain, crosschain, multichain, rollup, rollups, zkevm, evm, parachain, parachains, ico, icos, ido, dao, daos,
    yield farming, liquidity pool, liquidity pools, liquid staking, tornado cash, proof of stake, proof of work,
    hash rate, hashrate, satoshi, vitalik buterin, do kwon, play to earn, move to earn, gamefi, erc 20, erc20, bep20,
    brc 20, block explorer, seed phrase, cold wallet, hardware wallet, decentralized exchange
""")
"""Said of hardly anything but crypto; count within `signals.entities.CUE_CHARS`."""

WEAK_CUES: Final = _phrases("""
    bullish, bearish, bull, bear, pump, pumping, pumped, dump, dumping, dumped, long, longs, longing, short, shorts,
    shorting, breakout, breaking out, price, prices, ath, all time high, moon, mooning, bag, bags, bagholder, chart,
    support, resistance, holders, holding, bought, buy, buying, sell, selling, sold, rally, rallies, whale, whales,
    wallet, wallets, leverage, leveraged, liquidated, liquidations, dip, usd, investors, market cap, marketcap, traders,
    trading, trader, transfer, transferred
""")
"""Said of markets in general; count only right beside a ticker that is no everyday word."""

MARKET: Final = _phrases("""
    crypto market, crypto markets, cryptocurrency market, cryptocurrency markets, cryptocurrencies, cryptos,
    crypto prices, crypto assets, cryptoassets, altcoins, alts, altcoin season, altseason, alt season,
    altcoin market, digital assets, digital asset market, digital currencies, total market cap,
    total crypto market cap, crypto market cap, crypto winter, crypto crash, crypto rally, crypto selloff,
    crypto sell off, crypto bull run, crypto bull market, crypto bear market, crypto industry, crypto sector,
    crypto space, crypto stocks, crypto fear and greed, crypto price, cryptocurrency price, cryptocurrency prices,
    crypto tokens, crypto majors, crypto gainers, crypto losers, crypto gains, crypto derivatives, crypto economy,
    crypto ecosystem, crypto world, crypto investors, crypto traders, crypto bulls, crypto bears, defi coins,
    most cryptos, market wrap, virtual currencies, virtual assets
""")
"""The market as such, whatever coins stand beside it."""

MARKET_ASIDE: Final = _phrases(
    "crypto, cryptocurrency, digital asset, digital currency, crypto currency, crypto currencies, crypto asset, "
    "altcoin, virtual currency, virtual asset"
)
"""The market only when no coin is named."""

NOT_COINS: Final = _phrases("""
    ripple effect, ripple effects, ripple through, ripples through, rippled through, ripple across, into the ether,
    in the ether, ether net, diethyl ether, eth zurich, eth zürich, shiba inu dog, shiba inu dogs, shiba inu puppy,
    curve ball, stellar performance, stellar results, stellar quarter, stellar earnings, stellar year, stellar gains,
    stellar returns, avalanche of, snow avalanche, polygon shape, optimism about, optimism over, optimism that,
    optimism around, optimism grows, market maker, market makers, policy maker, decision maker, rule maker, maker fee,
    maker fees, maker taker, learning curve, yield curve, regulatory sandbox, the graph shows, harmony with, in harmony,
    link in bio, link below, bitcoin magazine, tether ball, crypto library, crypto libraries, crypto primitives
""")
"""Readings that are no coin; each swallows the shorter reading inside it."""
