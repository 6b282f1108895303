"""What the pages' forms read. Every limit is in `params`; these only turn text into values and back."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from django import forms

from credits.amounts import AMOUNT_CENTI_MAX
from generation import params, queries
from generation.engine import catalog
from generation.errors import InvalidParams
from generation.params import Params
from generation.services import REQUEST_KEY_CHARS_MAX


class GenerateForm(forms.Form):
    """One request for pictures, as the studio and the landing page send it."""

    prompt = forms.CharField(
        required=False,
        strip=False,
        widget=forms.Textarea(
            attrs={"rows": 4, "placeholder": "A beautiful sunset over mountains", "data-submit-on": "ctrl-enter"}
        ),
    )
    style = forms.CharField(required=False)
    product = forms.CharField(required=False)
    model = forms.CharField(required=False)
    expand = forms.BooleanField(required=False, initial=True, label="Expand my prompt")
    expanded_prompt = forms.CharField(
        required=False, strip=False, label="What the model will read", widget=forms.Textarea(attrs={"rows": 4})
    )
    expansion_made = forms.CharField(required=False, strip=False, widget=forms.HiddenInput)
    negative_prompt = forms.CharField(
        required=False,
        strip=False,
        label="Keep out",
        help_text="What should not be in the picture. Empty: what the style suggests.",
        widget=forms.Textarea(attrs={"rows": 2, "placeholder": "people, text, blur"}),
    )
    size = forms.CharField(required=False, widget=forms.Select)
    quality = forms.CharField(required=False, initial=params.QUALITIES[0], widget=forms.Select)
    count = forms.IntegerField(required=False, initial=1, label="Pictures")
    seed = forms.IntegerField(
        required=False, help_text="The same seed and settings make the same picture. Empty: a new one each time."
    )
    num_inference_steps = forms.IntegerField(required=False, label="Steps")
    guidance_scale = forms.FloatField(required=False, label="Guidance")
    request_key = forms.CharField(required=False, max_length=REQUEST_KEY_CHARS_MAX, widget=forms.HiddenInput)
    # The price in credits that the page showed. It stands in the quote, so that both change together.
    shown_centi = forms.IntegerField(required=False, min_value=0, max_value=AMOUNT_CENTI_MAX, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""
        self.params: Params | None = None
        self.refusal_code = ""
        self.spec = catalog.CATALOG.get(str(self["model"].value() or ""), catalog.get(params.MODEL_DEFAULT))
        self.fields["size"].widget.choices = [("", "Automatic"), *map(_size_choice, self.spec.sizes)]
        self.fields["quality"].widget.choices = [("standard", "Standard"), ("hd", "HD: twice the steps")]
        self._limit("num_inference_steps", self.spec.steps_min, self.spec.steps_max, self.spec.steps_default)
        self._limit("guidance_scale", self.spec.guidance_min, self.spec.guidance_max, self.spec.guidance_default, 0.5)
        self._limit("seed", 0, params.SEED_MAX, "any")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        cleaned["request_key"] = cleaned.get("request_key") or uuid4().hex
        given = {name: value for name, value in cleaned.items() if value != ""}
        given.setdefault("prompt", "")
        if not given.get("size"):
            given["size"] = queries.size_for_product(self.spec, given.get("product", ""))
        if not self.is_edited:
            given.pop("expanded_prompt", None)  # seen and left as it was: it is ours, and made anew from the last words
        try:
            self.params = params.make(given)
        except InvalidParams as error:
            for name, message in error.fields.items():
                if name not in self.errors:
                    self.add_error(name, message)
        return cleaned

    def to_params(self) -> Params:
        """The request of a valid form."""
        assert self.params is not None
        return self.params

    def refuse(self, error: Exception) -> None:
        """Show a service's refusal where it belongs: at its field, or above the form."""
        self.refusal_code = getattr(error, "code", "")
        fields = error.fields if isinstance(error, InvalidParams) else {None: str(error)}
        for name, message in fields.items():
            self.add_error(name if name in self.fields else None, message)

    def first_error(self) -> str:
        return next((str(messages[0]) for messages in self.errors.values()), "")

    def stray_errors(self) -> list[str]:
        """What is wrong with fields that the page does not show."""
        return [
            str(text)
            for name in ("model", "request_key", "expansion_made", "shown_centi")
            for text in self.errors.get(name, [])
        ]

    @property
    def is_unpaid(self) -> bool:
        """Whether it was refused for want of credits."""
        return self.refusal_code == "insufficient_credits"

    @property
    def is_edited(self) -> bool:
        """Whether the expansion is the person's own text by now. Browsers send line ends as CR LF."""
        text, made = (str(self[name].value() or "").split() for name in ("expanded_prompt", "expansion_made"))
        return bool(text) and text != made

    @property
    def is_advanced_open(self) -> bool:
        """Whether something in the folded part needs to be seen."""
        names = ("negative_prompt", "size", "quality", "seed", "num_inference_steps", "guidance_scale", "model")
        return any(self.errors.get(name) for name in names) if self.is_bound else bool(self.initial.get("is_advanced"))

    def _limit(self, name: str, low: float, high: float, usual: object, step: float = 1) -> None:
        self.fields[name].widget.attrs |= {"min": low, "max": high, "step": step, "placeholder": usual}


def settings_only(values: Mapping[str, Any]) -> GenerateForm:
    """The form without its texts, for what depends on the settings alone: a price, a size."""
    names = ("model", "product", "size", "quality", "count", "num_inference_steps", "guidance_scale")
    return GenerateForm({"prompt": "-", **{name: values.get(name) for name in names}})


def _size_choice(size: tuple[int, int]) -> tuple[str, str]:
    width, height = size
    shape = "square" if width == height else "upright" if width < height else "wide"
    return params.size_name(width, height), f"{width} × {height}, {shape}"
