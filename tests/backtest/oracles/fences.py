"""Arrays of a desk with a fence on both sides: kernels reach them by address, and nothing else would tell of a step
too far.
"""

import numpy as np

from risk.desk import Desk
from risk.records import Array

WIDE = 4096  # bytes
POST = 0xAB


class Fence:
    """Puts every array of a desk behind fences, and again what has grown since."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._rooms: dict[str, tuple[Array, Array]] = {}
        self.mend()

    def mend(self) -> None:
        """To be called after the logs have grown; the old fences have to stand until then."""
        self.check()
        for name, array in list(self._desk.arrays.items()):
            if name in self._rooms and self._rooms[name][1] is array:
                continue
            room = np.full(array.nbytes + 2 * WIDE, POST, np.uint8)
            inside = room[WIDE : WIDE + array.nbytes].view(array.dtype).reshape(array.shape)
            inside[...] = array
            self._rooms[name] = room, inside
            self._desk.arrays[name] = inside
        self._desk.point()

    def check(self) -> None:
        """No fence was written to."""
        for name, (room, inside) in self._rooms.items():
            whole = (room[:WIDE] == POST).all() and (room[WIDE + inside.nbytes :] == POST).all()
            assert whole, f"something was written beside {name} of {inside.shape}"
