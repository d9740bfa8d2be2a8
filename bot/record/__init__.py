"""Recording: all configured feeds side by side, their facts made durable before anything is acknowledged, for weeks."""
