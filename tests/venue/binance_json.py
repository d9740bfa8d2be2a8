"""The test venue's records as Binance's spot protocol writes them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tests.venue.book import Book
from tests.venue.records import ZERO, Account, Order, Spec, Trade, text

TYPES = {
    "market": "MARKET",
    "limit": "LIMIT",
    "post-only": "LIMIT_MAKER",
    "stop": "STOP_LOSS",
    "stop-limit": "STOP_LOSS_LIMIT",
    "take-profit": "TAKE_PROFIT",
    "take-profit-limit": "TAKE_PROFIT_LIMIT",
}
KINDS = {name: kind for kind, name in TYPES.items()}
RATE_LIMITS = (("REQUEST_WEIGHT", "MINUTE", 1, 6000), ("ORDERS", "SECOND", 10, 100), ("ORDERS", "DAY", 1, 200_000))


def plain(value: Decimal) -> str:
    """A step or limit without an exponent."""
    return format(value, "f")


def order_view(order: Order) -> dict[str, Any]:
    """An order as the queries answer it."""
    return {
        "symbol": order.symbol,
        "orderId": order.id,
        "orderListId": -1,
        "clientOrderId": order.client_id,
        "price": text(order.limit),
        "origQty": text(order.qty),
        "executedQty": text(order.filled),
        "cummulativeQuoteQty": text(order.cost),
        "origQuoteOrderQty": text(order.quote_qty),
        "status": order.status,
        "timeInForce": order.tif,
        "type": TYPES[order.kind],
        "side": order.side.upper(),
        "stopPrice": text(order.stop),
        "icebergQty": text(ZERO),
        "time": order.created_ms,
        "updateTime": order.updated_ms,
        "isWorking": not order.waits,
        "workingTime": -1 if order.waits else order.created_ms,
        "selfTradePreventionMode": "NONE",
    }


def placed_view(order: Order, trades: list[Trade], form: str) -> dict[str, Any]:
    """The answer to a new order: form "ACK", "RESULT" or "FULL"."""
    short = {
        "symbol": order.symbol,
        "orderId": order.id,
        "orderListId": -1,
        "clientOrderId": order.client_id,
        "transactTime": order.updated_ms,
    }
    if form == "ACK":
        return short
    view = {**order_view(order), **short}
    for name in ("time", "updateTime", "isWorking", "icebergQty"):
        view.pop(name)
    if order.stop is None:
        view.pop("stopPrice")
    if form == "FULL":
        view["fills"] = [
            {
                "price": text(one.price),
                "qty": text(one.qty),
                "commission": text(one.fee),
                "commissionAsset": one.fee_coin,
                "tradeId": one.id,
            }
            for one in trades
        ]
    return view


def cancelled_view(order: Order, cancel_id: str) -> dict[str, Any]:
    """The answer to a cancel: the order's own client id is called the original one here."""
    view = order_view(order)
    for name in ("time", "updateTime", "isWorking", "workingTime", "icebergQty"):
        view.pop(name)
    return {**view, "origClientOrderId": order.client_id, "clientOrderId": cancel_id, "transactTime": order.updated_ms}


def trade_view(trade: Trade) -> dict[str, Any]:
    """One of the account's trades."""
    return {
        "symbol": trade.symbol,
        "id": trade.id,
        "orderId": trade.order_id,
        "orderListId": -1,
        "price": text(trade.price),
        "qty": text(trade.qty),
        "quoteQty": text(trade.qty * trade.price),
        "commission": text(trade.fee),
        "commissionAsset": trade.fee_coin,
        "time": trade.ms,
        "isBuyer": trade.side == "buy",
        "isMaker": trade.maker,
        "isBestMatch": True,
    }


def account_view(account: Account, *, can_trade: bool, can_withdraw: bool, now: int, skip_zero: bool) -> dict[str, Any]:
    """Balances and rights of an account."""
    coins = [coin for coin in account.coins() if account.total(coin) or not skip_zero]
    return {
        "makerCommission": 10,
        "takerCommission": 10,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {
            "maker": "0.00100000",
            "taker": "0.00100000",
            "buyer": "0.00000000",
            "seller": "0.00000000",
        },
        "canTrade": can_trade,
        "canWithdraw": can_withdraw,
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": now,
        "accountType": "SPOT",
        "balances": balances_view(account, coins, "asset", "free", "locked"),
        "permissions": ["SPOT"],
        "uid": 354937868,
    }


def balances_view(account: Account, coins: list[str], coin: str, free: str, locked: str) -> list[dict[str, str]]:
    """Free and locked amounts under the names that a message wants."""
    return [{coin: one, free: text(account.free[one]), locked: text(account.locked[one])} for one in coins]


def symbol_view(spec: Spec) -> dict[str, Any]:
    """One market of the exchange's information, with its filters."""
    return {
        "symbol": spec.symbol,
        "status": spec.status,
        "baseAsset": spec.base,
        "baseAssetPrecision": 8,
        "quoteAsset": spec.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": list(TYPES.values()),
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": filters_view(spec),
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "NONE",
        "allowedSelfTradePreventionModes": ["NONE"],
    }


def filters_view(spec: Spec) -> list[dict[str, Any]]:
    """The filters that `tests.venue.rules` enforces."""
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": plain(spec.min_price),
            "maxPrice": plain(spec.max_price),
            "tickSize": plain(spec.tick),
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": plain(spec.min_qty),
            "maxQty": plain(spec.max_qty),
            "stepSize": plain(spec.lot),
        },
        {
            "filterType": "MARKET_LOT_SIZE",
            "minQty": "0.00000000",
            "maxQty": plain(spec.max_qty),
            "stepSize": "0.00000000",
        },
        {
            "filterType": "PERCENT_PRICE_BY_SIDE",
            "bidMultiplierUp": plain(spec.band_up),
            "bidMultiplierDown": plain(spec.band_down),
            "askMultiplierUp": plain(spec.band_up),
            "askMultiplierDown": plain(spec.band_down),
            "avgPriceMins": 0,
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": plain(spec.min_notional),
            "applyMinToMarket": True,
            "maxNotional": "9000000.00000000",
            "applyMaxToMarket": False,
            "avgPriceMins": 0,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": spec.max_orders},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": spec.max_conditional},
    ]


def info_view(specs: list[Spec], now: int) -> dict[str, Any]:
    """The exchange's information."""
    return {
        "timezone": "UTC",
        "serverTime": now,
        "rateLimits": [
            {"rateLimitType": kind, "interval": interval, "intervalNum": count, "limit": limit}
            for kind, interval, count, limit in RATE_LIMITS
        ],
        "exchangeFilters": [],
        "symbols": [symbol_view(spec) for spec in specs],
    }


def day_ticker(book: Book, now: int) -> dict[str, Any]:
    """A day's statistics; the test venue has no memory of the day, so its prices are the last one."""
    bid, ask = best(book)
    last = text(book.price)
    return {
        "symbol": book.spec.symbol,
        "priceChange": text(ZERO),
        "priceChangePercent": "0.000",
        "weightedAvgPrice": last,
        "prevClosePrice": last,
        "lastPrice": last,
        "lastQty": text(Decimal(1)),
        "bidPrice": text(bid[0]),
        "bidQty": text(bid[1]),
        "askPrice": text(ask[0]),
        "askQty": text(ask[1]),
        "openPrice": last,
        "highPrice": last,
        "lowPrice": last,
        "volume": text(Decimal(1000)),
        "quoteVolume": text(book.price * 1000),
        "openTime": now - 86_400_000,
        "closeTime": now,
        "firstId": 1,
        "lastId": 2,
        "count": 2,
    }


def best(book: Book) -> tuple[tuple[Decimal, Decimal], tuple[Decimal, Decimal]]:
    """Best bid and best ask with their quantities; nothing where a side is empty."""
    bids, asks = book.shown("bid"), book.shown("ask")
    return (bids[0] if bids else (ZERO, ZERO)), (asks[0] if asks else (ZERO, ZERO))


def execution_report(order: Order, trade: Trade | None, what: str, now: int, cancel_id: str) -> dict[str, Any]:
    """One report of the private stream. After a cancel its `c` is the cancel's own id, `C` the order's."""
    ended = what == "CANCELED"
    report: dict[str, Any] = {
        "e": "executionReport",
        "E": now,
        "s": order.symbol,
        "c": cancel_id if ended else order.client_id,
        "S": order.side.upper(),
        "o": TYPES[order.kind],
        "f": order.tif,
        "q": text(order.qty),
        "p": text(order.limit),
        "P": text(order.stop),
        "F": text(ZERO),
        "g": -1,
        "C": order.client_id if ended else "",
        "x": what,
        "X": order.status,
        "r": "NONE",
        "i": order.id,
        "l": text(trade.qty if trade else ZERO),
        "z": text(order.filled),
        "L": text(trade.price if trade else ZERO),
        "n": text(trade.fee) if trade else "0",
        "N": trade.fee_coin if trade else None,
        "T": now,
        "t": trade.id if trade else -1,
        "w": order.is_open and not order.waits,
        "m": bool(trade and trade.maker),
        "M": False,
        "O": order.created_ms,
        "Z": text(order.cost),
        "Y": text(trade.qty * trade.price if trade else ZERO),
        "Q": text(order.quote_qty),
        "V": "NONE",
    }
    if not order.waits:
        report["W"] = order.created_ms
    return report
