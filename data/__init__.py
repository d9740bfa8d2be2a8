"""Facts: what happened, when it could have been known, and the store that keeps them."""
