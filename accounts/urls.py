"""Pages about oneself and one's team."""

from django.urls import path

from accounts.views import account, activity, leaving, sessions, team, teams

app_name = "accounts"
urlpatterns = [
    path("account/", account.account, name="account"),
    path("account/keys", account.create_key, name="create_key"),
    path("account/keys/<uuid:key_id>/revoke", account.revoke_key, name="revoke_key"),
    path("account/delete", leaving.close_account, name="close_account"),
    path("account/restore", leaving.restore_account, name="restore_account"),
    path("account/sessions/<int:session_id>/end", sessions.end_session, name="end_session"),
    path("team/", team.team, name="team"),
    path("team/name", team.rename, name="rename_team"),
    path("team/leave", team.leave, name="leave_team"),
    path("team/delete", team.close, name="close_team"),
    path("team/invitations", team.invite, name="invite"),
    path("team/invitations/<uuid:invitation_id>/resend", team.resend, name="resend_invitation"),
    path("team/invitations/<uuid:invitation_id>/revoke", team.uninvite, name="revoke_invitation"),
    path("team/members/<int:member_id>/role", team.role, name="change_role"),
    path("team/members/<int:member_id>/remove", team.remove, name="remove_member"),
    path("team/members/<int:member_id>/owner", team.transfer, name="transfer_team"),
    path("teams", teams.teams, name="teams"),
    path("teams/<uuid:team_id>/switch", teams.switch, name="switch_team"),
    path("teams/<uuid:team_id>/restore", teams.restore, name="restore_team"),
    path("invitation", teams.invitation, name="invitation"),
    path("invitations/<str:secret>", teams.open_invitation, name="open_invitation"),
    path("team/activity", activity.team_activity, name="activity"),
    path("team/activity/more", activity.team_activity_more, name="activity_more"),
]
