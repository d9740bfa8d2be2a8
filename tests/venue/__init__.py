"""A venue of our own for tests: matching that is exact in decimals, and fronts that speak real exchanges' protocols.

    async with LocalVenue(balances={"USDT": "10000"}, prices={"BTCUSDT": "50000"}) as venue, ccxt_at(venue) as exchange:
        venue.faults.add(Fault("timeout", "place"))  # the next order is accepted and never answered
        venue.set_price("BTCUSDT", 51000)
        venue.truth()  # what really was: the judge of a test

`matching` is the engine, `faults` what can go wrong, `server` the venue itself, `client` ccxt pointed at it, `remote`
the venue in a process of its own, `control` the commands that steer it there.
"""
