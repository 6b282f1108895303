"""Pages about oneself and one's team."""

from django.urls import path

from accounts.views import account, activity

app_name = "accounts"
urlpatterns = [
    path("account/", account.account, name="account"),
    path("account/keys", account.create_key, name="create_key"),
    path("account/keys/<uuid:key_id>/revoke", account.revoke_key, name="revoke_key"),
    path("team/activity", activity.team_activity, name="activity"),
    path("team/activity/more", activity.team_activity_more, name="activity_more"),
]
