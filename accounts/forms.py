"""What the account and team pages' forms read."""

from datetime import timedelta
from typing import Any

from django import forms
from django.utils import timezone

from accounts.models import ApiKey, Membership, Scope, Team
from accounts.models.keys import default_scopes

Role = Membership.Role
LIFETIMES = [("", "never"), (30, "in 30 days"), (90, "in 90 days"), (365, "in a year")]
CAP_CREDITS_MAX = 10_000_000
GIVEN_ROLES = [(role.value, role.label) for role in (Role.ADMIN, Role.MEMBER, Role.VIEWER)]


class ApiKeyForm(forms.Form):
    """A new key: its name, what it may do, until when, and what it may spend."""

    name = forms.CharField(
        max_length=ApiKey._meta.get_field("name").max_length,
        label="Name of the key",
        error_messages={"required": "Give the key a name, so that you know it again."},
        widget=forms.TextInput(attrs={"placeholder": "My website", "autocomplete": "off"}),
    )
    scopes = forms.MultipleChoiceField(
        choices=Scope.choices,
        initial=default_scopes,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one thing that the key may do."},
    )
    days = forms.TypedChoiceField(
        choices=LIFETIMES, coerce=int, required=False, empty_value=None, label="Expires", initial=""
    )
    cap = forms.IntegerField(
        min_value=1,
        max_value=CAP_CREDITS_MAX,
        required=False,
        label="Monthly credit limit",
        widget=forms.NumberInput(attrs={"placeholder": "no limit"}),
    )

    def terms(self) -> dict[str, Any]:
        """What `create_api_key` takes besides team and person."""
        data = self.cleaned_data
        return {
            "name": data["name"],
            "scopes": data["scopes"],
            "expires_at": timezone.now() + timedelta(days=data["days"]) if data["days"] else None,
            "monthly_cap_centi": data["cap"] * 100 if data["cap"] else None,
        }


class TeamForm(forms.Form):
    """The name of a team."""

    name = forms.CharField(
        max_length=Team._meta.get_field("name").max_length,
        label="Name of the team",
        error_messages={"required": "Give the team a name."},
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


class InvitationForm(forms.Form):
    """Whom to invite, and as what."""

    email = forms.EmailField(
        max_length=254, label="Email", widget=forms.EmailInput(attrs={"placeholder": "ana@example.com"})
    )
    role = forms.ChoiceField(choices=GIVEN_ROLES, initial=Role.MEMBER)


class RoleForm(forms.Form):
    """A member's new role."""

    role = forms.ChoiceField(choices=GIVEN_ROLES)
