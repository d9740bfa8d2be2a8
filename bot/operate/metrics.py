"""Figures for Prometheus on loopback, in a registry of their own."""

from __future__ import annotations

import logging
from typing import Any

from bot.operate.status import feed_lines
from bot.operate.words import number
from data.errors import InputError
from risk.orders import STATES
from risk.records import LEVELS

LOG = logging.getLogger("tidegate.metrics")
STEP_S = (1e-5, 1e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.5, 1.0)
LATENCY_S = (1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 5.0)


class Metrics:
    """All figures of one session. The driver observes times and counts; the rest follows from a status answer."""

    def __init__(self, mode: str, name: str) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry, "namespace": "tidegate"}
        session = Gauge("session", "1 while the session runs", ["mode", "name"], **own)
        session.labels(mode, name).set(1)
        self.step_s = Histogram("step_seconds", "time of one engine step", buckets=STEP_S, **own)
        self.commit_s = Histogram("journal_commit_seconds", "time of one journal commit", buckets=LATENCY_S, **own)
        self.order_s = Histogram("order_latency_seconds", "decision to request sent", buckets=LATENCY_S, **own)
        self.refusals = Counter("refusals", "orders that the gate refused", ["rule"], **own)
        self.fills = Counter("fills", "trades booked", **own)
        self.posts_dropped = Counter("posts_dropped", "posts that didn't fit into the queue", **own)
        self.events = Counter("events", "events handled", **own)
        self._equity = Gauge("equity", "equity of the allocation, in quote", **own)
        self._drawdown = Gauge("drawdown", "share lost against the highest value", **own)
        self._level = Gauge("ladder_level", "0 ACTIVE, 1 NO_NEW_RISK, 2 REDUCE_ONLY, 3 FLATTEN, 4 HALTED", **own)
        self._position = Gauge("position", "quantity held, in base", ["symbol"], **own)
        self._worth = Gauge("position_notional", "worth of what is held, in quote", ["symbol"], **own)
        self._orders = Gauge("orders", "open orders", ["state"], **own)
        self._unknown = Gauge("unknown_orders", "orders whose outcome isn't known", **own)
        self._age = Gauge("feed_age_seconds", "age of a feed's last fact", ["feed"], **own)
        self._errors = Gauge("feed_errors", "errors of a feed so far", ["feed"], **own)
        self._up = Gauge("exchange_up", "1 when the exchange process answers and its stream is up", **own)
        self._level.set(LEVELS.index("HALTED"))
        self._server: Any = None
        self._thread: Any = None
        self.port = 0
        self._dropped = 0

    def update(self, status: dict[str, Any]) -> None:
        """Take over a status answer; what it doesn't tell becomes NaN, never an old value."""
        self._equity.set(number(status.get("equity")))
        self._drawdown.set(number(status.get("drawdown")))
        level = status.get("level")
        self._level.set(LEVELS.index(level) if level in LEVELS else float("nan"))
        self._position.clear()
        self._worth.clear()
        for symbol, entry in (status.get("positions") or {}).items():
            self._position.labels(symbol).set(number(entry.get("qty")))
            self._worth.labels(symbol).set(number(entry.get("qty")) * number(entry.get("last")))
        states = [str(order.get("state")) for order in status.get("orders") or []]
        for state in STATES:
            self._orders.labels(state).set(states.count(state))
        self._unknown.set(states.count("UNKNOWN"))
        self._age.clear()
        self._errors.clear()
        for name, health in feed_lines(status.get("feeds") or {}):
            self._age.labels(name).set(number(health.get("age_s")))
            self._errors.labels(name).set(number(health.get("errors", 0)))
        dropped = int((status.get("door") or {}).get("dropped_posts") or 0)
        self.posts_dropped.inc(max(dropped - self._dropped, 0))
        self._dropped = dropped
        exchange = status.get("exchange") or {}
        up = exchange.get("up", exchange.get("reachable"))
        self._up.set(float("nan") if up is None else float(bool(up)))

    def serve(self, port: int) -> int:
        """Answer scrapes on 127.0.0.1, port 0 any free one; the port it became.

        Raises
        ------
        InputError
            The port is taken.
        """
        from prometheus_client import start_http_server

        try:
            self._server, self._thread = start_http_server(port, addr="127.0.0.1", registry=self.registry)
        except OSError as error:
            raise InputError(f"can't be listened on ({error.strerror})", key="metrics.port", value=port) from None
        self.port = int(self._server.server_port)
        LOG.info("figures on http://127.0.0.1:%d/metrics", self.port)
        return self.port

    def close(self) -> None:
        """Stop answering."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None
