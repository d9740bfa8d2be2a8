"""A line of text to a worker process, a line of JSON back."""

from __future__ import annotations

import json
import os
import subprocess
from typing import IO, Any


def ask(process: subprocess.Popen[str], label: str, line: str) -> dict[str, Any]:
    """What a worker answers to a line."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError(f"{label}: the worker ended with {process.wait()}; its words stand above")
    found: dict[str, Any] = json.loads(answer)
    return found


def stop(process: subprocess.Popen[str]) -> None:
    """Let a worker end."""
    assert process.stdin is not None
    process.stdin.close()
    process.wait()


def answers() -> IO[str]:
    """The worker's side: where its answers go. What libraries print is no answer, and goes to standard error."""
    stream = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return stream
