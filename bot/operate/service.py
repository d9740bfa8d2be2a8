"""What a systemd service says to its manager: ready, alive, stopping; over a datagram socket, in a few lines."""

from __future__ import annotations

import logging
import os
import socket

LOG = logging.getLogger("tidegate.service")


def tell_manager(*words: str) -> bool:
    """Say for example "READY=1", "WATCHDOG=1", "STOPPING=1" or "STATUS=text". False when nobody listens."""
    name = os.environ.get("NOTIFY_SOCKET", "")
    if not name or name[0] not in "/@":
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect("\0" + name[1:] if name[0] == "@" else name)
            sock.send("\n".join(word.replace("\n", " ") for word in words).encode())
        return True
    except OSError as error:
        LOG.warning("the service manager can't be told: %s", error)
        return False


def manager_patience_s() -> float | None:
    """After so many seconds without "WATCHDOG=1" the manager ends this process; None when it doesn't watch."""
    try:
        patience = int(os.environ.get("WATCHDOG_USEC", "")) / 1e6
        meant = int(os.environ.get("WATCHDOG_PID", "") or os.getpid())
    except ValueError:
        return None
    return patience if patience > 0 and meant == os.getpid() else None
