"""The operator's side of a running bot: latch, lock, control socket, heartbeat, watchdog, notices, metrics, logs."""
