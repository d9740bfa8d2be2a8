"""What to hold: strategies from signals to target weights."""
