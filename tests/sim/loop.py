"""A loop with virtual time: nothing waits, ready callbacks run in a seeded order, one seed is one run.

Written on asyncio's public loop interface, so that it is the same on every Python from 3.11 on. No sockets, no threads,
no signals: who needs one finds that it isn't implemented.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import random
import sys
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stuck(RuntimeError):
    """Nothing is ready and no timer is set: the run would wait for ever."""


class VirtualHandle(asyncio.TimerHandle):
    """A callback that waits for its turn; `when` is virtual seconds."""

    def __init__(
        self, when: float, call: Any, args: tuple[Any, ...], loop: VirtualLoop, context: contextvars.Context | None
    ) -> None:
        super().__init__(when, call, args, loop, context)
        self._what = (context or contextvars.copy_context(), call, args, loop)

    def run(self) -> None:
        """Call it, in its context; what it raises goes to the loop's handler."""
        context, call, args, loop = self._what
        try:
            context.run(call, *args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            loop.call_exception_handler({"message": f"exception in {call}", "exception": error, "handle": self})


class VirtualLoop(asyncio.AbstractEventLoop):
    """An event loop whose clock jumps to the next timer when nothing is ready.

    Parameters
    ----------
    seed : int
        Of the order in which callbacks that are ready at one moment run; None for the order they came in.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._rng = None if seed is None else random.Random(seed)
        self._now = 0.0
        self._count = 0
        self._ready: list[VirtualHandle] = []
        self._timers: list[tuple[float, int, VirtualHandle]] = []
        self._running = self._stopping = self._closed = False
        self._handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None
        self._factory: Any = None
        self._generators: weakref.WeakSet[AsyncGenerator[Any, Any]] = weakref.WeakSet()
        self.errors: list[dict[str, Any]] = []

    # --- time and callbacks -------------------------------------------------------------------------------------------
    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def call_soon(self, callback: Any, *args: Any, context: contextvars.Context | None = None) -> VirtualHandle:
        """Run it at this moment of virtual time."""
        handle = VirtualHandle(self._now, callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> VirtualHandle:
        """Run it `delay` virtual seconds from now."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> VirtualHandle:
        """Run it at a virtual time."""
        handle = VirtualHandle(when, callback, args, self, context)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
        """A task of this loop."""
        if self._factory is not None:
            return self._factory(self, coro, **kwargs)
        return asyncio.Task(coro, loop=self, **kwargs)

    def set_task_factory(self, factory: Any) -> None:
        """How tasks are made."""
        self._factory = factory

    def get_task_factory(self) -> Any:
        """How tasks are made; None for asyncio's own way."""
        return self._factory

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are dropped when their time comes."""

    # --- running ------------------------------------------------------------------------------------------------------
    def run_forever(self) -> None:
        """Run until `stop`."""
        if self._running or self._closed:
            raise RuntimeError("the loop is running or closed")
        hooks = sys.get_asyncgen_hooks()
        self._running = True
        asyncio._set_running_loop(self)
        sys.set_asyncgen_hooks(firstiter=self._generators.add, finalizer=self._finalize)
        try:
            while not self._stopping:
                self._turn()
        finally:
            self._stopping = self._running = False
            asyncio._set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)

    def _turn(self) -> None:
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        if not self._ready:
            if not self._timers:
                raise Stuck("nothing is ready and no timer is set")
            self._now = max(self._now, self._timers[0][0])
        while self._timers and self._timers[0][0] <= self._now:
            self._ready.append(heapq.heappop(self._timers)[2])
        batch, self._ready = self._ready, []
        if self._rng is not None and len(batch) > 1:
            self._rng.shuffle(batch)
        for handle in batch:
            if not handle.cancelled():
                handle.run()

    def run_until_complete(self, future: Any) -> Any:
        """Run until the awaitable is done; its result."""
        task = asyncio.ensure_future(future, loop=self)
        task.add_done_callback(self._end)
        try:
            self.run_forever()
        finally:
            task.remove_done_callback(self._end)
        if not task.done():
            raise RuntimeError("the loop was stopped before the future was done")
        return task.result()

    def _end(self, _: asyncio.Future[Any]) -> None:
        self._stopping = True

    def stop(self) -> None:
        """End the run after this turn."""
        self._stopping = True

    def is_running(self) -> bool:
        """True inside a run."""
        return self._running

    def is_closed(self) -> bool:
        """True after `close`."""
        return self._closed

    def close(self) -> None:
        """Forget what waits."""
        if self._running:
            raise RuntimeError("the loop is running")
        self._closed = True
        self._ready.clear()
        self._timers.clear()

    # --- the rest that asyncio asks for -------------------------------------------------------------------------------
    def _finalize(self, generator: AsyncGenerator[Any, Any]) -> None:
        self._generators.discard(generator)
        if not self._closed:
            self.create_task(generator.aclose())

    async def shutdown_asyncgens(self) -> None:
        """Close the generators that nobody ended."""
        left = list(self._generators)
        self._generators.clear()
        await asyncio.gather(*(generator.aclose() for generator in left), return_exceptions=True)

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """There is none."""

    def get_debug(self) -> bool:
        """Never."""
        return False

    def set_debug(self, enabled: bool) -> None:
        """Not here."""

    def set_exception_handler(self, handler: Any) -> None:
        """Who hears of exceptions in callbacks; without one they are kept in `errors`."""
        self._handler = handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep it: `simulate` raises the first."""
        self.errors.append(context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Something raised where nobody waits."""
        if self._handler is None:
            self.default_exception_handler(context)
        else:
            self._handler(self, context)


def simulate(seed: int | None, main: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Run `main(loop)` in a world of its own; the same seed gives the same run.

    Raises
    ------
    AssertionError
        Something raised where nobody waited for it.
    """
    loop = VirtualLoop(seed)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        result = runner.run(main(loop))
    if loop.errors:
        first = loop.errors[0]
        raise AssertionError(first.get("message", "an error nobody waited for")) from first.get("exception")
    return result


class SimClock:
    """The time of day in virtual time, which may run ahead of the venue's or behind.

    Parameters
    ----------
    loop : VirtualLoop
        Whose time.
    start_ns : int
        The time of day at virtual second 0.
    """

    def __init__(self, loop: VirtualLoop, start_ns: int) -> None:
        self._loop, self._start_ns = loop, start_ns
        self.offset_s = 0.0

    def now_ns(self) -> int:
        """Nanoseconds since 1970 UTC."""
        return self._start_ns + int((self._loop.time() + self.offset_s) * 1e9)
