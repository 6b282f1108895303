"""What the pages of models read. The rules are in `training_limits` and the services; here text turns into values."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from django import forms

from credits.amounts import AMOUNT_CENTI_MAX
from generation.errors import InvalidParams
from generation.models import CustomModel
from generation.services import REQUEST_KEY_CHARS_MAX
from generation.training_limits import (
    DESCRIPTION_CHARS_MAX,
    NAME_CHARS_MAX,
    STEPS_MAX,
    STEPS_MIN,
    TRIGGER_WORD_CHARS_MAX,
)

URLS_CHARS_MAX = 20_000


class RefusableForm(forms.Form):
    """A form that shows a service's refusal where it belongs: at its field, or above all."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""
        self.refusal_code = ""

    def refuse(self, error: Exception) -> None:
        self.refusal_code = getattr(error, "code", "")
        fields = error.fields if isinstance(error, InvalidParams) else {None: str(error)}
        for name, message in fields.items():
            self.add_error(name if name in self.fields else None, message)

    @property
    def is_unpaid(self) -> bool:
        """Whether it was refused for want of credits."""
        return self.refusal_code == "insufficient_credits"

    def changes(self) -> dict[str, Any]:
        """The fields of a valid form that were sent: what is not there is not changed."""
        return {name: self.cleaned_data[name] for name in self.fields if name in self.data}


class LookForm(RefusableForm):
    """Which reference model a model starts from."""

    reference = forms.SlugField(required=False, max_length=40)


class NameForm(RefusableForm):
    """What a model is called, and the word that calls it."""

    name = forms.CharField(
        required=False,
        help_text="For your team, such as Zuko, our fox.",
        widget=forms.TextInput(attrs={"maxlength": NAME_CHARS_MAX, "autocomplete": "off"}),
    )
    trigger_word = forms.CharField(
        required=False,
        label="Trigger word",
        help_text="Write it in a prompt, and your subject appears: <q>a photo of zuko7 on a beach</q>.",
        widget=forms.TextInput(
            attrs={
                "maxlength": TRIGGER_WORD_CHARS_MAX,
                "placeholder": "zuko7",
                "autocomplete": "off",
                "autocapitalize": "none",
                "spellcheck": "false",
            }
        ),
    )
    description = forms.CharField(
        required=False,
        label="Description (optional)",
        widget=forms.Textarea(attrs={"rows": 2, "maxlength": DESCRIPTION_CHARS_MAX}),
    )


class RenameForm(NameForm):
    """The name and description of a model that is there; its trigger word stays."""

    trigger_word = None  # type: ignore[assignment]


class UrlsForm(RefusableForm):
    """Addresses of pictures, one a line."""

    urls = forms.CharField(
        required=False,
        max_length=URLS_CHARS_MAX,
        label="Addresses of pictures",
        widget=forms.Textarea(attrs={"rows": 3, "placeholder": "https://example.com/one.jpg"}),
    )

    def addresses(self) -> list[str]:
        return self.cleaned_data["urls"].split()


class OrderForm(RefusableForm):
    """An order of a training: the price that was shown travels with it."""

    request_key = forms.CharField(required=False, max_length=REQUEST_KEY_CHARS_MAX, widget=forms.HiddenInput)
    shown_centi = forms.IntegerField(required=False, min_value=0, max_value=AMOUNT_CENTI_MAX, widget=forms.HiddenInput)

    def clean_request_key(self) -> str:
        return self.cleaned_data["request_key"] or uuid4().hex

    def stray_errors(self) -> list[str]:
        """What is wrong with fields that the page does not show."""
        return [str(text) for name in ("request_key", "shown_centi") for text in self.errors.get(name, [])]


class CheckForm(OrderForm):
    """The last step: how it is trained, and the order."""

    train_steps = forms.IntegerField(
        required=False,
        label="Training steps",
        help_text=f"{STEPS_MIN} to {STEPS_MAX}. Leave it empty for what suits the pictures. More takes longer, at the "
        "same price, and can learn the pictures by heart.",
    )
    train_text_encoder = forms.BooleanField(required=False, label="Teach the text encoder, too")
    has_consent = forms.BooleanField(required=False)

    SETTINGS = ("train_steps", "train_text_encoder", "has_consent")

    def __init__(self, *args: Any, usual_steps: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        limit_steps(self.fields["train_steps"], usual_steps)

    def settings(self) -> dict[str, Any]:
        """A box that is not there is not ticked: these are all sent together."""
        return {name: self.cleaned_data[name] for name in self.SETTINGS if name in self.cleaned_data}


class RefineForm(OrderForm):
    """The next version: from which one, and with how many steps."""

    parent = forms.UUIDField(required=False, label="Start from", widget=forms.Select)
    steps = forms.IntegerField(
        required=False, label="Training steps", help_text="Leave it empty for what suits the pictures."
    )

    def __init__(self, *args: Any, usual_steps: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        limit_steps(self.fields["steps"], usual_steps)


class DeleteForm(RefusableForm):
    """Deleting a model asks for its name, typed."""

    typed = forms.CharField(required=False, widget=forms.TextInput(attrs={"autocomplete": "off"}))

    def __init__(self, data: Mapping[str, Any] | None, *, model: CustomModel) -> None:
        super().__init__(data)
        self.model = model
        self.fields["typed"].label = f"Type {model} to delete it"

    def clean_typed(self) -> str:
        typed: str = self.cleaned_data["typed"]
        if typed.strip() != str(self.model):
            raise forms.ValidationError(f"This is not its name. Type {self.model}.")
        return typed


def limit_steps(field: forms.Field, usual: int | None) -> None:
    """Say the limits of a number of steps to browsers; `usual` is what an empty field means."""
    field.widget.attrs |= {
        "min": STEPS_MIN,
        "max": STEPS_MAX,
        "step": 10,
        "placeholder": usual or "",
        "inputmode": "numeric",
    }
