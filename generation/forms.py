"""What the pages' forms read. Every limit is in `params`; these only turn text into values and back."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from django import forms

from accounts.models import Team
from credits.amounts import AMOUNT_CENTI_MAX
from generation import looks, params
from generation.errors import InvalidParams, RequestKeyReused
from generation.params import Params
from generation.services import REQUEST_KEY_CHARS_MAX
from tenkaigen.errors import DomainError

DRAWN_WITH = ("model", "reference_model", "custom_model", "version")
HIDDEN_FIELDS = (*DRAWN_WITH, "request_key", "expansion_made", "shown_centi")
SENT_BEFORE = "Your last click did arrive: what it ordered is under Jobs. To order this, too, press again."


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
    reference_model = forms.CharField(required=False)
    custom_model = forms.CharField(required=False)
    version = forms.IntegerField(required=False)
    # The studio's one control for the four above: what `pick` makes of them.
    drawn_with = forms.CharField(required=False, label="Model", widget=forms.Select)
    expand = forms.BooleanField(required=False, initial=True, label="Expand my prompt")
    expanded_prompt = forms.CharField(
        required=False, strip=False, label="What the model will read", widget=forms.Textarea(attrs={"rows": 4})
    )
    expansion_made = forms.CharField(required=False, strip=False, widget=forms.HiddenInput)
    negative_prompt = forms.CharField(
        required=False,
        strip=False,
        label="Keep out",
        help_text="What should not be in the picture. Leave it empty for what the style suggests.",
        widget=forms.Textarea(attrs={"rows": 2, "placeholder": "people, text, blur"}),
    )
    size = forms.CharField(required=False, widget=forms.Select)
    quality = forms.CharField(required=False, initial=params.QUALITIES[0], widget=forms.Select)
    count = forms.IntegerField(required=False, initial=1, label="Pictures")
    seed = forms.IntegerField(
        required=False,
        help_text="The same seed and settings make the same picture. Leave it empty for a new one.",
    )
    num_inference_steps = forms.IntegerField(required=False, label="Steps")
    guidance_scale = forms.FloatField(required=False, label="Guidance")
    request_key = forms.CharField(required=False, max_length=REQUEST_KEY_CHARS_MAX, widget=forms.HiddenInput)
    # The price in credits that the page showed. It stands in the quote, so that both change together.
    shown_centi = forms.IntegerField(required=False, min_value=0, max_value=AMOUNT_CENTI_MAX, widget=forms.HiddenInput)

    def __init__(self, *args: Any, team: Team | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""
        self.params: Params | None = None
        self.refusal_code = ""
        self.choice = looks.choice_of(self._named(), team)
        self.spec = self.choice.spec
        self.fields["size"].widget.choices = [("", "Automatic"), *map(_size_choice, self.spec.sizes)]
        self.fields["quality"].widget.choices = [("standard", "Standard"), ("hd", "HD: twice the steps")]
        usual = {
            "num_inference_steps": self.spec.steps_default,
            "guidance_scale": self.spec.guidance_default,
            **self.choice.usual(),
        }
        self._limit("num_inference_steps", self.spec.steps_min, self.spec.steps_max, usual["num_inference_steps"])
        self._limit("guidance_scale", self.spec.guidance_min, self.spec.guidance_max, usual["guidance_scale"], 0.5)
        self._limit("seed", 0, params.SEED_MAX, "any")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        cleaned["request_key"] = cleaned.get("request_key") or uuid4().hex
        given = cleaned | unpick(cleaned.get("drawn_with") or "")
        if not self.is_edited:
            given.pop("expanded_prompt", None)  # seen and left as it was: it is ours, and made anew from the last words
        try:
            self.params = looks.make(given, self.choice)
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
        """Show a service's refusal where it belongs: at its field, or above the form.

        A request key that stands for another request is renewed, so that the next click is a new request.
        """
        self.refusal_code = getattr(error, "code", "")
        if isinstance(error, RequestKeyReused):  # by a click whose answer was lost, and then other words
            self.data = {name: self.data[name] for name in self.data} | {"request_key": uuid4().hex}
            error = DomainError(SENT_BEFORE)
        fields = error.fields if isinstance(error, InvalidParams) else {None: str(error)}
        for name, message in fields.items():
            self.add_error(name if name in self.fields else None, message)

    def first_error(self) -> str:
        return next((str(messages[0]) for messages in self.errors.values()), "")

    def stray_errors(self) -> list[str]:
        """What is wrong with fields that the page does not show."""
        return [str(text) for name in HIDDEN_FIELDS for text in self.errors.get(name, [])]

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

    @property
    def picked(self) -> str:
        """What the studio's control for models shows as chosen."""
        return pick(self._named())

    def _named(self) -> dict[str, Any]:
        # Not by the bound fields: they would remember what `offer` has yet to say.
        given = self.data if self.is_bound else self.initial
        named = {name: given.get(name) for name in DRAWN_WITH}
        return named | unpick(str(given.get("drawn_with") or ""))

    def _limit(self, name: str, low: float, high: float, usual: object, step: float = 1) -> None:
        self.fields[name].widget.attrs |= {"min": low, "max": high, "step": step, "placeholder": usual}


def settings_only(values: Mapping[str, Any], team: Team) -> GenerateForm:
    """The form without its texts, for what depends on the settings alone: a price, a size."""
    names = ("product", "size", "quality", "count", "num_inference_steps", "guidance_scale", "drawn_with", *DRAWN_WITH)
    return GenerateForm({"prompt": "-", **{name: values.get(name) for name in names}}, team=team)


def pick(named: Mapping[str, Any]) -> str:
    """One word for what a request names: `own:ID:VERSION`, `look:SLUG`, `base:NAME`, or nothing."""
    if named.get("custom_model"):
        return ":".join(["own", str(named["custom_model"]), *([str(named["version"])] if named.get("version") else [])])
    if named.get("reference_model"):
        return f"look:{named['reference_model']}"
    model = named.get("model") or params.MODEL_DEFAULT
    return "" if model == params.MODEL_DEFAULT else f"base:{model}"


def unpick(picked: str) -> dict[str, Any]:
    """The fields that such a word stands for; nothing for the empty one, which leaves them as they are."""
    kind, _, name = picked.partition(":")
    fields: dict[str, Any] = dict.fromkeys(DRAWN_WITH)
    if kind == "own":
        fields["custom_model"], _, version = name.partition(":")
        fields["version"] = int(version) if version.isdecimal() and len(version) < len(str(params.SEED_MAX)) else None
    elif kind == "look":
        fields["reference_model"] = name
    else:
        fields["model"] = name
    return fields if picked else {}


def _size_choice(size: tuple[int, int]) -> tuple[str, str]:
    width, height = size
    shape = "square" if width == height else "upright" if width < height else "wide"
    return params.size_name(width, height), f"{width} × {height}, {shape}"
