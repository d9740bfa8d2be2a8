"""How a person loosens: causes are looked at, the latch is released, the running bot is told; or nothing is changed."""

from __future__ import annotations

from pathlib import Path

from bot.operate.control import SOCKET_FILE, NoAnswer, ask
from bot.operate.latch import HALTED, read_latch, release_latch, write_latch
from bot.operate.status import gather, latch_line, standing
from data.errors import RefusedError, TidegateError

PATIENCE_S = 4.0  # more than the bot itself waits until a person's word is durable


def resume(folder: Path, *, person: str, reason: str, now_ns: int, timeout_s: float = 3.0) -> list[str]:
    """Make the latch ACTIVE and tell the running bot.

    Returns
    -------
    list of str
        What was done, and what to know.

    Raises
    ------
    RefusedError
        Causes still stand, the bot is silent or refuses, or somebody halted meanwhile. The latch stays, or is set
        back to, HALTED.
    InputError or WorkError
        Person or reason is missing, or the latch can't be written.
    """
    seen = read_latch(folder)
    status = gather(folder, timeout_s=timeout_s)
    if status["running"] is None:
        raise RefusedError(f"{'; '.join(status['told'])}. Nothing was changed: end it or mend it first")
    running = status["running"] is True
    hard, soft = standing(status) if running else ([], [])
    if hard:
        raise RefusedError("these causes still stand; mend them first:\n  " + "\n  ".join(hard))
    told = [f"kill latch was {'HALTED' if seen.halted else 'ACTIVE'}: {seen.reason}"]
    release_latch(folder, seen, person, reason, now_ns)
    told.append("kill latch is ACTIVE")
    if running:
        told += _tell_bot(folder, person=person, reason=reason, now_ns=now_ns, timeout_s=timeout_s + PATIENCE_S)
    else:
        told.append("no bot runs: the next one starts with this latch")
        left = [latch_line(latch) for latch in status.get("latches") or []]
        told += [f"its journal still has: {line}" for line in left]
        told += ["start the bot, then resume again to clear these"] if left else []
    return told + [f"stood when it was said: {line}" for line in soft]


def _tell_bot(folder: Path, *, person: str, reason: str, now_ns: int, timeout_s: float) -> list[str]:
    request = {"do": "resume", "person": person, "reason": reason}
    try:
        answer = ask(folder / SOCKET_FILE, request, timeout_s=timeout_s)
    except TidegateError as error:
        why = "the bot didn't answer a resume" if isinstance(error, NoAnswer) else f"the bot refused: {error}"
        write_latch(folder, HALTED, person, why, now_ns)
        raise RefusedError(f"{why}. The kill latch is HALTED again") from None
    level = answer.get("level")
    return [f"the running bot resumed; ladder {level}" if level else "the running bot resumed"]
