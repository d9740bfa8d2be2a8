"""State as JSON and back, every bit kept: nested dicts, lists, tuples, numbers, texts and arrays."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

_ARRAY, _BLOCKS, _PAIRS, _TUPLE, _FLOAT = "~array", "~blocks", "~pairs", "~tuple", "~float"
LARGE = 32_768  # bytes of an array from which on only its blocks that hold anything are written down
BLOCK = 512


def freeze(value: Any) -> Any:
    """JSON values that stand for `value`. Raises TypeError for what has no such form."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, np.ndarray):
        descr = value.dtype.descr if value.dtype.names else value.dtype.str
        whole = np.ascontiguousarray(value)
        if whole.nbytes >= LARGE:
            return {_BLOCKS: [descr, list(value.shape), *_blocks(whole)]}
        return {_ARRAY: [descr, list(value.shape), base64.b64encode(whole.tobytes()).decode()]}
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return number if math.isfinite(number) else {_FLOAT: repr(number)}
    if isinstance(value, dict):
        if all(isinstance(key, str) and not key.startswith("~") for key in value):
            return {key: freeze(item) for key, item in value.items()}
        return {_PAIRS: [[freeze(key), freeze(item)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {_TUPLE: [freeze(item) for item in value]}
    if isinstance(value, list):
        return [freeze(item) for item in value]
    raise TypeError(f"no durable form of {type(value).__name__}")


def thaw(value: Any) -> Any:
    """What `freeze` was given."""
    if isinstance(value, list):
        return [thaw(item) for item in value]
    if not isinstance(value, dict):
        return value
    if _ARRAY in value:
        descr, shape, body = value[_ARRAY]
        dtype = np.dtype(descr if isinstance(descr, str) else [tuple(field) for field in descr])
        return np.frombuffer(base64.b64decode(body), dtype).reshape(shape).copy()
    if _BLOCKS in value:
        descr, shape, places, body = value[_BLOCKS]
        made = np.zeros(shape, np.dtype(descr if isinstance(descr, str) else [tuple(field) for field in descr]))
        room = np.zeros(-(-made.nbytes // BLOCK) * BLOCK, np.uint8)
        room.reshape(-1, BLOCK)[places] = np.frombuffer(base64.b64decode(body), np.uint8).reshape(-1, BLOCK)
        return np.frombuffer(room[: made.nbytes].tobytes(), made.dtype).reshape(shape).copy()
    if _PAIRS in value:
        return {thaw(key): thaw(item) for key, item in value[_PAIRS]}
    if _TUPLE in value:
        return tuple(thaw(item) for item in value[_TUPLE])
    if _FLOAT in value:
        return float(value[_FLOAT])
    return {key: thaw(item) for key, item in value.items()}


def _blocks(whole: Any) -> tuple[list[int], str]:
    """Numbers of the blocks of an array that aren't all zero, and their bytes: tables of a guard are mostly empty."""
    room = np.zeros(-(-whole.nbytes // BLOCK) * BLOCK, np.uint8)
    room[: whole.nbytes] = np.frombuffer(whole.tobytes(), np.uint8)
    rows = room.reshape(-1, BLOCK)
    places = np.flatnonzero(rows.any(axis=1))
    return places.tolist(), base64.b64encode(rows[places].tobytes()).decode()
