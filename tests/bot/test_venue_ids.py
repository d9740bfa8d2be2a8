"""Client ids, and the laws of the book of orders that need no exchange."""

import dataclasses
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.events import Report
from bot.exchange.ids import Ids, client_id
from bot.exchange.orders_book import OrdersBook, Standing
from bot.exchange.outbox import Outbox
from bot.exchange.wire import OrderView, TradeView
from data.errors import InputError
from risk.orders import LEGAL, PARTIAL, SENT, UNKNOWN
from tests.sim.desk import MOVES

IDS = Ids("b0b0b0b0", "00000002", ["00000001"])


def test_ids() -> None:
    """Ours, a stranger's with our name, and foreign ones; the number comes back."""
    made = IDS.make(77)
    assert len(made) == 32 and IDS.owner(made) == "ours" and IDS.order(made) == 77
    assert IDS.owner(IDS.make(5, "00000001")) == "ours"
    assert IDS.owner("b0b0b0b0" + "99999999" + "0" * 16) == IDS.owner("b0b0b0b0-by-hand") == "stranger"
    assert IDS.owner("") == IDS.owner("web-1") == "foreign"


@pytest.mark.parametrize("parts", [("B0B0B0B0", "00000001", 1), ("b0b0b0b0", "1", 1), ("b0b0b0b0", "00000001", -1)])
def test_bad_ids(parts: tuple[str, str, int]) -> None:
    """What wouldn't fit is refused."""
    with pytest.raises(InputError):
        client_id(bot_id=parts[0], session=parts[1], order=parts[2])


def standing() -> Standing:
    """An order of 1.0 that was sent."""
    return Standing(
        order=1, client_id=IDS.make(1), symbol="BTC/USDT", side=1, protective=False, qty=Decimal(1), price=100.0,
        first_ns=0, sent_ns=0,
    )  # fmt: skip


def shown(**changed: str) -> OrderView:
    """The same as the venue has it when it was taken."""
    first = OrderView(
        client_id=IDS.make(1), venue_id="v1", symbol="BTC/USDT", side="buy", kind="limit", qty="1", filled="0",
        status="open",
    )  # fmt: skip
    return dataclasses.replace(first, **changed)


@pytest.mark.parametrize("trade_first", [True, False])
def test_an_order_that_the_venue_cut_ends_with_what_was_filled(*, trade_first: bool) -> None:
    """A stop that only reduces, of 1.0, when 0.3 of the position were left: nothing of it is waited for."""
    book = OrdersBook(IDS, lambda view: (0.0, 0.0, 0.0), lambda: 0)
    o = book.add(standing())
    view = shown(side="sell", kind="stop")
    trade = TradeView(
        trade_id="t1", venue_id="v1", client_id=IDS.make(1), symbol="BTC/USDT", side="sell", qty="0.3", price="100",
        fee="0", fee_currency="USDT", maker=False, ns=0,
    )  # fmt: skip
    reports = book.see(view)
    over = dataclasses.replace(view, qty="0.3", filled="0.3", status="filled")
    if trade_first:
        reports += book.trade(trade)
        assert not o.ended
        reports += book.see(over)
    else:
        reports += book.see(over)
        assert not o.ended and o.lacking
        reports += book.trade(trade)
    assert [one.what for one in reports] == ["acked", "filled", "cancelled"]
    assert o.ended == "cancelled" and not o.unsettled and "0.3 filled" in reports[-1].text


def test_a_view_without_its_quantities_is_no_cut() -> None:
    """Filled, says the venue, and not how much: then all of it was, and its trades are waited for."""
    book = OrdersBook(IDS, lambda view: (0.0, 0.0, 0.0), lambda: 0)
    o = book.add(standing())
    view = shown(side="sell", kind="stop", qty="0", status="filled")
    assert book.see(view) == [] and not o.ended and o.lacking and o.filled == o.qty
    book.see(dataclasses.replace(view, qty="0.5", filled="0.3"))
    assert not o.ended and o.lacking


def messages(parts: list[int], ending: str) -> list[OrderView | TradeView]:
    """What the venue tells of an order that fills in tenths and then ends: a view and a trade for each part."""
    said: list[OrderView | TradeView] = []
    view = shown()
    total = 0
    said.append(view)
    for index, part in enumerate(parts):
        part = min(part, 10 - total)
        if part <= 0:
            break
        total += part
        status = "filled" if total == 10 else "open"
        said.append(dataclasses.replace(view, filled=f"{total / 10:.1f}", status=status))
        said.append(
            TradeView(
                trade_id=f"t{index}",
                venue_id="v1",
                client_id=IDS.make(1) if index % 2 else "",
                symbol="BTC/USDT",
                side="buy",
                qty=f"{part / 10:.1f}",
                price="100",
                fee="0",
                fee_currency="USDT",
                maker=True,
                ns=0,
            )  # fmt: skip
        )
    if total < 10:
        said.append(dataclasses.replace(view, filled=f"{total / 10:.1f}", status=ending))
    return said


@given(
    st.lists(st.integers(1, 6), max_size=5), st.sampled_from(["cancelled", "expired", "rejected"]), st.randoms(),
    st.booleans(),
)  # fmt: skip
def test_any_order_of_messages_ends_the_same(parts, ending, rng, doubted) -> None:  # type: ignore[no-untyped-def]
    """Shuffled and repeated, the messages give each trade once, legal moves only, and the end after the last trade."""
    book = OrdersBook(IDS, lambda view: (0.0, 0.0, 0.0), lambda: 0)
    o = book.add(standing())
    said = messages(parts, ending)
    heard = said + [rng.choice(said) for _ in range(4)]
    rng.shuffle(heard)
    reports: list[Report] = list(book.doubt(o)) if doubted else []
    for message in heard:
        reports += book.see(message) if isinstance(message, OrderView) else book.trade(message)
    state, told = UNKNOWN if doubted else SENT, []
    for report in reports[1:] if doubted else reports:
        after = PARTIAL if report.what == "filled" else MOVES[report.what]
        assert LEGAL[state, after], reports
        state = after
        told += [report.trade] if report.what == "filled" else []
    assert sorted(told) == sorted(m.trade_id for m in said if isinstance(m, TradeView))
    assert o.ended and not o.unsettled and not book.strays
    ends = [report.what for report in reports if report.what in ("cancelled", "expired", "rejected")]
    whole = o.told == o.qty
    assert len(ends) == (0 if whole else 1) and (whole or reports[-1].what == ends[0])


def test_memory_waits_for_the_engine() -> None:
    """A change of memory after a report is journalled only when the report was taken."""
    box = Outbox({"cursors": {}})
    told: list[object] = []
    box.open(told.append)
    report = Report(ns=0, order=1, what="filled", trade="7")
    box.put(report)
    box.note(lambda memory: memory["cursors"].update(x="7"))
    assert not box.changed and box.memory() == {"cursors": {}}
    box.took(report)
    assert box.changed and box.memory() == {"cursors": {"x": "7"}} and not box.changed


def test_only_what_moves_holdings_puts_a_comparison_off() -> None:
    """29: a stop that is refused each second, for its coins were sold by hand, doesn't hide that they are gone."""
    outbox = Outbox()
    outbox.open(lambda event: None)
    for what in ("rejected", "acked", "unknown", "lost", "cancelled"):
        outbox.put(Report(ns=1, order=1, what=what))
    assert (outbox.told, outbox.moved) == (5, 0)
    outbox.put(Report(ns=1, order=2, what="filled", qty=1.0, price=1.0, trade="1"))
    assert outbox.moved == 1
