"""People. They sign in by e-mail."""

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower, Now


class UserManager(BaseUserManager["User"]):
    """Makes people; the e-mail address is the name they sign in with."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Make a superuser. Whoever does this sits at the shell and vouches for the address: it counts as confirmed."""
        from allauth.account.models import EmailAddress  # it needs the model that this module makes

        user = self.create_user(email, password, is_staff=True, is_superuser=True, **fields)
        EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
        return user


class User(AbstractBaseUser, PermissionsMixin):
    """A person. Signs in by e-mail."""

    email = models.EmailField()
    name = models.CharField(max_length=80, blank=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    is_demo = models.BooleanField(default=False, help_text="Made by `make run`; no public server starts with one.")
    confirmed_at = models.DateTimeField(
        null=True, editable=False, help_text="When an e-mail address was first confirmed."
    )
    closed_at = models.DateTimeField(null=True, editable=False, help_text="Deleted by themselves; can be restored.")
    erased_at = models.DateTimeField(null=True, editable=False, help_text="Deleted for good; nothing personal is left.")
    date_joined = models.DateTimeField(db_default=Now(), editable=False)

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects: ClassVar[UserManager] = UserManager()

    class Meta:
        indexes = [
            models.Index(
                fields=["closed_at"], name="user_to_erase", condition=Q(closed_at__isnull=False, erased_at=None)
            )
        ]
        constraints = [
            models.UniqueConstraint(Lower("email"), name="user_has_an_email_of_their_own"),
            models.CheckConstraint(
                condition=Q(erased_at=None) | Q(closed_at__isnull=False), name="user_is_closed_before_they_are_erased"
            ),
        ]

    def __str__(self) -> str:
        return self.email


class KnownAddress(models.Model):
    """An address that was confirmed once, as a keyed hash: it greets a newcomer once, also after a deletion."""

    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    def __str__(self) -> str:
        return self.digest
