"""A slow ledger in exact decimals, written from the definitions alone: what the compiled one is held against."""

from decimal import Decimal, getcontext

getcontext().prec = 40
ZERO = Decimal(0)


class Position:
    """What is held of one symbol: signed quantity, what it cost (quote, without fees), isolated margin, last price."""

    def __init__(self) -> None:
        self.qty = ZERO
        self.cost = ZERO
        self.margin = ZERO
        self.last = ZERO

    @property
    def mean(self) -> Decimal:
        """Mean price paid for what is held."""
        return self.cost / self.qty


class SlowLedger:
    """One wallet, spot or linear isolated perpetuals."""

    def __init__(self, cash: Decimal, symbols: int, *, perp: bool, leverage: Decimal, dust: Decimal) -> None:
        self.cash = cash
        self.book = [Position() for _ in range(symbols)]
        self.perp = perp
        self.leverage = leverage
        self.dust = dust
        self.fees = ZERO
        self.funding = ZERO
        self.realised = ZERO  # of closed quantities, before fees

    def fill(self, k: int, qty: Decimal, price: Decimal, fee: Decimal, fee_in_coin: Decimal) -> None:
        """Book a fill: signed quantity as traded, the fee in quote, the part of it that was taken in the coin."""
        position = self.book[k]
        position.last = price
        self.fees += fee
        if fee_in_coin == 0:
            self.cash -= fee
        if position.qty * qty >= 0:
            got = qty - fee_in_coin
            position.cost += got * price
            position.qty += got
            if self.perp:
                margin = abs(qty) * price / self.leverage
                position.margin += margin
                self.cash -= margin
            else:
                self.cash -= qty * price
            return
        share = min(-qty / position.qty, Decimal(1))
        closed_cost = position.cost * share
        profit = -qty * price - closed_cost
        self.realised += profit
        if self.perp:
            self.cash += position.margin * share + profit
            position.margin -= position.margin * share
        else:
            self.cash -= qty * price
        position.cost -= closed_cost
        position.qty += qty
        if abs(position.qty) < self.dust:
            position.qty = position.cost = ZERO
            self.cash += position.margin
            position.margin = ZERO

    def fund(self, k: int, rate: Decimal, mark: Decimal) -> None:
        """Pay or receive funding; what the free wallet hasn't comes out of the position's margin."""
        position = self.book[k]
        position.last = mark
        paid = position.qty * mark * rate
        self.funding += paid
        from_cash = paid if paid < 0 else min(paid, max(self.cash, ZERO))
        self.cash -= from_cash
        position.margin -= paid - from_cash

    @property
    def equity(self) -> Decimal:
        """Cash, margins and what positions are worth at their last prices."""
        if self.perp:
            return self.cash + sum((p.margin + p.qty * p.last - p.cost for p in self.book), ZERO)
        return self.cash + sum((p.qty * p.last for p in self.book), ZERO)

    def liquidation(self, k: int, maintenance: Decimal) -> Decimal:
        """Mark at which margin and unrealised profit have shrunk to the maintenance margin."""
        position = self.book[k]
        if position.qty == 0:
            return ZERO
        side = Decimal(1) if position.qty > 0 else Decimal(-1)
        # margin + qty * (mark - mean) = maintenance * |qty| * mark
        return max((position.cost - position.margin) / (position.qty * (1 - side * maintenance)), ZERO)
