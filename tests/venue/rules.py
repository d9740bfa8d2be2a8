"""What the test venue refuses before it matches: filters, counts, duplicates, triggers that would fire at once."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from tests.venue.book import Book
from tests.venue.records import CONDITIONAL, Order, Refusal, Spec


def is_touched(order: Order, price: Decimal) -> bool:
    """Whether a price triggers a conditional order."""
    if order.stop is None:
        return False
    above = (order.side == "buy") == order.kind.startswith("stop")
    return price >= order.stop if above else price <= order.stop


def check_filters(order: Order, spec: Spec, book: Book, others: Sequence[Order]) -> None:
    """Refuse an order that breaks a rule of its market; `others`: the account's open orders of the symbol."""
    for name, price in (("limit", order.limit), ("stop", order.stop)):
        if price is not None:
            _check_price(spec, name, price)
    if not spec.min_qty <= order.qty <= spec.max_qty or order.qty % spec.lot:
        raise Refusal("lot-size", f"{order.qty}")
    reference = order.limit or order.stop or book.price
    if order.qty * reference < spec.min_notional and not order.reduce_only:
        raise Refusal("notional", f"{order.qty * reference} is below {spec.min_notional}")
    if order.limit is not None and not book.price * spec.band_down <= order.limit <= book.price * spec.band_up:
        raise Refusal("price-band", f"{order.limit} at {book.price}")
    if any(other.client_id == order.client_id for other in others):
        raise Refusal("duplicate", order.client_id)
    if len(others) >= spec.max_orders:
        raise Refusal("too-many", "orders")
    if order.kind in CONDITIONAL:
        if sum(other.kind in CONDITIONAL for other in others) >= spec.max_conditional:
            raise Refusal("too-many", "conditional")
        if is_touched(order, book.price):
            raise Refusal("would-trigger", f"{order.stop} at {book.price}")
    if order.kind == "post-only" and order.limit is not None and book.crosses(order.side, order.limit):
        raise Refusal("would-match", f"{order.limit}")


def _check_price(spec: Spec, name: str, price: Decimal) -> None:
    if not spec.min_price <= price <= spec.max_price or price % spec.tick:
        raise Refusal("price-filter", f"{name} {price}")
