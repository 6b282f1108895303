"""Django's rules for passwords, each told in a few words beside the field."""

from django.contrib.auth import password_validation as rules


class NotLikeTheAddress(rules.UserAttributeSimilarityValidator):
    def get_help_text(self) -> str:
        return "Not like your email address"


class LongEnough(rules.MinimumLengthValidator):
    def get_help_text(self) -> str:
        return f"At least {self.min_length} characters"


class NotCommon(rules.CommonPasswordValidator):
    def get_help_text(self) -> str:
        return "Not a password that many people use"
