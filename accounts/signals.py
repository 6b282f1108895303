"""What other apps may hear of. `credits` and `generation` must not be known here, so they listen.

Each is sent inside the transaction that does it: a receiver that fails takes it back.
"""

from django.dispatch import Signal

team_created = Signal()  # team, user: its owner, is_first: the one that everybody starts with
team_described = Signal()  # team: its name, or the address that its mail goes to, is another one now
team_closed = Signal()  # team: deleted softly, nobody acts for it any more
team_reopened = Signal()  # team: the deletion was taken back
# Asked, not told: keys (their ids), since, until. Who knows answers {id of a key: hundredths of a credit}.
key_spending_asked = Signal()
member_left = Signal()  # team, user: left or was removed
person_confirmed = Signal()  # user, team: their first. Once per person, and never again for an address seen before

# These two are sent outside any transaction, and again if the work was cut off: receivers delete files, too.
team_purged = Signal()  # team: what it made goes for good; its books stay
person_erased = Signal()  # user: what is personal goes for good; what they made in other people's teams stays there
