"""The simulated venue, the run and its honest account: what a strategy would have done, and what that is worth."""
