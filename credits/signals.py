"""What other apps may hear of. `generation` must not be known here, so it listens.

Sent inside the transaction that does it: a receiver that fails takes it back.
"""

from django.dispatch import Signal

plan_changed = Signal()  # team_id: its plan is another one now; None: the limits of a plan are, of whoever has it
