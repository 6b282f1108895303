"""What happens to people, teams and keys. Pages, API, admin and commands all come here."""

from accounts.services.invitations import accept_invitation, has_address, invite, resend_invitation, revoke_invitation
from accounts.services.keys import KEYS_PER_TEAM_MAX, create_api_key, hash_secret, revoke_api_key
from accounts.services.leaving import (
    close_account,
    end_sessions,
    erase_due,
    erase_person,
    purge_team,
    reopen_account,
)
from accounts.services.members import change_role, leave_team, remove_member
from accounts.services.people import (
    confirm_person,
    create_account,
    follow_address,
    free_address,
    switch_second_step_off,
)
from accounts.services.teams import (
    close_team,
    create_team,
    grace_begin,
    open_team,
    rename_team,
    reopen_team,
    transfer_team,
)

__all__ = [
    "KEYS_PER_TEAM_MAX",
    "accept_invitation",
    "change_role",
    "close_account",
    "close_team",
    "confirm_person",
    "create_account",
    "create_api_key",
    "create_team",
    "end_sessions",
    "erase_due",
    "erase_person",
    "follow_address",
    "free_address",
    "grace_begin",
    "has_address",
    "hash_secret",
    "invite",
    "leave_team",
    "open_team",
    "purge_team",
    "remove_member",
    "rename_team",
    "reopen_account",
    "reopen_team",
    "resend_invitation",
    "revoke_api_key",
    "revoke_invitation",
    "switch_second_step_off",
    "transfer_team",
]
