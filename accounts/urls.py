"""Pages about oneself and one's team."""

from django.urls import path

from accounts import views

app_name = "accounts"
urlpatterns = [
    path("", views.account, name="account"),
    path("keys", views.create_key, name="create_key"),
    path("keys/<uuid:key_id>/revoke", views.revoke_key, name="revoke_key"),
]
