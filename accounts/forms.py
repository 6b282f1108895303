"""What the account pages' forms read."""

from django import forms

from accounts.models import ApiKey


class ApiKeyForm(forms.Form):
    """The name of a new key."""

    name = forms.CharField(
        max_length=ApiKey._meta.get_field("name").max_length,
        label="Name of the key",
        error_messages={"required": "Give the key a name, so that you know it again."},
        widget=forms.TextInput(attrs={"placeholder": "My website", "autocomplete": "off"}),
    )
