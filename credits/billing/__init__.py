"""Billing by Stripe: what is sold, what was paid, and the credits that follow.

Stripe tells, we ask: a webhook only leaves a line in the inbox (`inbox`), a worker asks Stripe for the state as it is
now (`client`, `shapes`) and brings ours to it (`follow`, `sales`, `takebacks`). So the order of events does not
matter, nor how often each comes. Nothing asks Stripe inside a transaction.
"""
