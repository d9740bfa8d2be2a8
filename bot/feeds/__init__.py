"""What brings facts to a running bot: live bars, stored posts and metrics, a replay, and the queue at its door."""
