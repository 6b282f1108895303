"""Remote GPU providers: services that draw for us when our own devices do not.

A job is claimed as by any worker, posted, answered by a signed webhook or by asking, whichever comes first, and its
pictures go through our own post stage. `wire`, `signatures` and `pictures` are pure, `requests` and `deliveries` write
rows, `work` is the process that does it.
"""
