"""What the account and team pages' forms read."""

from django import forms

from accounts.models import ApiKey, Membership, Team

Role = Membership.Role
GIVEN_ROLES = [(role.value, role.label) for role in (Role.ADMIN, Role.MEMBER, Role.VIEWER)]


class ApiKeyForm(forms.Form):
    """The name of a new key."""

    name = forms.CharField(
        max_length=ApiKey._meta.get_field("name").max_length,
        label="Name of the key",
        error_messages={"required": "Give the key a name, so that you know it again."},
        widget=forms.TextInput(attrs={"placeholder": "My website", "autocomplete": "off"}),
    )


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
        max_length=254, label="E-mail", widget=forms.EmailInput(attrs={"placeholder": "ana@example.com"})
    )
    role = forms.ChoiceField(choices=GIVEN_ROLES, initial=Role.MEMBER)


class RoleForm(forms.Form):
    """A member's new role."""

    role = forms.ChoiceField(choices=GIVEN_ROLES)
