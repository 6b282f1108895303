"""What tests of the admin share: addresses, people with rights, forms and what they answer."""

from html import unescape

from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from accounts.models import User
from tests.factories import make_user


def address(model, page: str, *args: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def sign_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def staff_with(*permissions: str) -> Client:
    user = make_user(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return sign_in(user)


def texts(response) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def errors(response) -> str:
    return unescape(response.context["form"].errors.as_text())


def post(client: Client, page: str, **data: object):
    return client.post(page, data, follow=True)


def make_boss(email: str) -> Client:
    return sign_in(make_user(email=email, is_staff=True, is_superuser=True))
