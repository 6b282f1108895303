"""What other apps may hear of. `credits` must not be known here, so it listens."""

from django.dispatch import Signal

team_created = Signal()  # team: inside the transaction that makes it
