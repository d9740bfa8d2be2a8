"""A session of paper or live trading: what it is made of, how it is taken up again, what it tells people."""
