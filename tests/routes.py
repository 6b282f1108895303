"""Who may ask what: a row for every route, to which `test_permissions.py` holds the product. A new route needs one."""

from dataclasses import dataclass

PUBLIC = "anyone may ask"
OWN = "about oneself: whoever is signed in may ask, strangers are sent to the sign-in"
PAGE = "strangers are sent to the sign-in"
TICKET = "as a page, or for the holder of a card's ticket; without either not there"
API = "strangers are told 401 in JSON"
STAFF = "everybody else is sent to the admin's sign-in"
HIDDEN = "everybody else is told that there is nothing here"


@dataclass(frozen=True)
class Row:
    """Who is kept out, and what the others need for each method. A method that is not named does not exist."""

    guard: str
    needs: dict[str, str]


def page(**needs: str) -> Row:
    """A page for members: `page(get="read", post="generate")`."""
    return Row(PAGE, needs)


def api(**needs: str) -> Row:
    """An address for members and keys: `api(get="read", delete="generate")`."""
    return Row(API, needs)


ROUTES: dict[str, Row] = {
    "healthz": Row(PUBLIC, {}),
    "readyz": Row(PUBLIC, {}),
    "metrics": Row(HIDDEN, {}),
    "admin_report": Row(STAFF, {}),
    "admin_nodes": Row(STAFF, {}),
    "accounts:account": Row(OWN, {}),
    "accounts:create_key": page(post="manage_keys"),
    "accounts:revoke_key": page(get="manage_keys", post="manage_keys"),
    "accounts:end_session": Row(OWN, {}),
    "accounts:close_account": Row(OWN, {}),
    "accounts:restore_account": Row(OWN, {}),
    "generation:export": Row(OWN, {}),
    "accounts:team": page(get="read"),
    "accounts:rename_team": page(post="manage_team"),
    "accounts:leave_team": page(get="read", post="read"),
    "accounts:close_team": page(get="delete_team", post="delete_team"),
    "accounts:invite": page(post="manage_members"),
    "accounts:resend_invitation": page(post="manage_members"),
    "accounts:revoke_invitation": page(post="manage_members"),
    "accounts:change_role": page(post="manage_members"),
    "accounts:remove_member": page(get="manage_members", post="manage_members"),
    "accounts:transfer_team": page(get="delete_team", post="delete_team"),
    "accounts:teams": Row(OWN, {}),
    "accounts:switch_team": Row(OWN, {}),
    "accounts:restore_team": Row(OWN, {}),
    "accounts:invitation": Row(PUBLIC, {}),  # the link opens it; to accept, one signs in
    "accounts:open_invitation": Row(PUBLIC, {}),
    "accounts:activity": page(get="read"),
    "accounts:activity_more": page(get="read"),
    "credits:dashboard": page(get="read"),
    "credits:panel": page(get="read"),
    "credits:dismiss_notice": page(post="generate"),
    "credits:start_pass": page(get="generate", post="generate"),
    "credits:plans": Row(PUBLIC, {}),
    "billing:billing": page(get="billing"),
    "billing:buy": page(post="billing"),
    "billing:portal": page(post="billing"),
    "billing:purchase": page(get="billing"),
    "billing:purchase_state": page(get="billing"),
    "billing_api:billing": api(get="billing"),
    "billing_api:checkout": api(post="billing"),
    "billing_api:portal": api(post="billing"),
    "billing_api:purchase": api(get="billing"),
    "stripe_webhook": Row(PUBLIC, {}),  # to whom Stripe's signature lets in: test_billing_webhook
    "credits:statement": page(get="read"),
    "credits:statement_more": page(get="read"),
    "credits:statement_csv": page(get="read"),
    "credits_api:balance": api(get="read"),
    "credits_api:key": api(get="read"),
    "credits_api:history": api(get="read"),
    "credits_api:passes": api(get="read"),
    "credits_api:activate_pass": api(post="generate"),
    "api:root": Row(PUBLIC, {}),
    "api:schema": Row(PUBLIC, {}),
    "api:generate": api(post="generate"),
    "api:quotes": api(post="read"),
    "api:generation": api(get="read"),
    "api:jobs": api(get="read"),
    "api:job": api(get="read", delete="generate"),
    "api:parse_prompt": api(post="generate"),
    "api:styles": api(get="read"),
    "api:reference_models": api(get="read"),
    "api:reference_model": api(get="read"),
    "api:image": api(get="read"),
    "api:models": api(get="read", post="train"),
    "api:model": api(get="read", patch="train", delete="train"),
    "api:train_model": api(post="train"),
    "api:refine_model": api(post="train"),
    "api:model_images": api(get="read", post="train"),
    "api:suggest_captions": api(post="train"),
    "api:model_image": api(patch="train", delete="train"),
    "api:versions": api(get="read"),
    "api:version": api(get="read", delete="train"),
    "api:promote_version": api(post="train"),
    "api:provider_webhook": Row(PUBLIC, {}),  # a signature stands for the sign-in: see test_remote_forgeries
    "api:not_found": Row(PUBLIC, {}),
    "generation:landing": Row(PUBLIC, {}),
    "generation:start": Row(PUBLIC, {}),  # whoever is signed in needs `generate`: see below
    "generation:studio": page(get="read"),
    "generation:submit": page(post="generate"),
    "generation:quote": page(post="read"),
    "generation:expand": page(post="generate"),
    "generation:model_settings": page(post="read"),
    "generation:reference_models": page(get="read"),
    "generation:reference_model": page(get="read"),
    "generation:history": page(get="read"),
    "generation:history_more": page(get="read"),
    "generation:job": page(get="read"),
    "generation:receipt": page(get="read"),
    "generation:job_card": page(get="read"),
    "generation:job_progress": Row(TICKET, {"get": "read"}),
    "generation:preview": Row(TICKET, {}),
    "generation:cancel": page(post="generate"),
    "generation:retry": page(post="generate"),
    "generation:models": page(get="read"),
    "generation:models_more": page(get="read"),
    "generation:model_new": page(get="train", post="train"),
    "generation:model": page(get="read"),
    "generation:model_look": page(get="train", post="train"),
    "generation:model_name": page(get="train", post="train"),
    "generation:model_word": page(post="train"),
    "generation:model_check": page(get="train", post="train"),
    "generation:training_settings": page(post="train"),
    "generation:model_cover": page(get="read"),
    "generation:model_training": page(get="read"),
    "generation:model_cancel": page(post="train"),
    "generation:model_retry": page(post="train"),
    "generation:model_refine": page(post="train"),
    "generation:model_rename": page(post="train"),
    "generation:model_delete": page(get="train", post="train"),
    "generation:version_promote": page(post="train"),
    "generation:version_delete": page(get="train", post="train"),
    "generation:model_sample": page(get="read"),
    "generation:model_pictures": page(get="train", post="train"),
    "generation:picture_add": page(post="train"),
    "generation:pictures_grid": page(get="train"),
    "generation:captions_suggest": page(post="train"),
    "generation:picture_remove": page(post="train"),
    "generation:picture_caption": page(post="train"),
    "generation:picture": page(get="read"),
    "generation:gallery": page(get="read"),
    "generation:gallery_more": page(get="read"),
    "generation:image_delete": page(get="manage_images", post="manage_images"),
    "generation:image": page(get="read"),
    "generation:file": Row(PUBLIC, {}),  # by a link that is signed and runs out
}

# What no role opens: what strangers (and programs with a key, which opens no page) are answered, and what everybody who
# is signed in is, by method: get, post, put, patch, delete; one word stands for all five. `login`, `studio` and
# `password` (asked again) are where somebody is sent, as are addresses; `absent` is 404, `no` 405, `gone` 410. Objects
# in the addresses are made up. Where allauth asks for the password first, it asks by every method.
ANSWERS: dict[str, tuple[str, str]] = {
    "healthz": ("page", "page"),
    "readyz": ("page", "page"),
    "accounts:account": ("login", "page no no no no"),
    "accounts:end_session": ("login", "no absent no no no"),
    "accounts:close_account": ("login", "password"),
    "accounts:restore_account": ("login", "/account/ /account/ no no no"),
    "generation:export": ("login", "no page no no no"),
    "accounts:teams": ("login", "page 422 no no no"),
    "accounts:switch_team": ("login", "no absent no no no"),
    "accounts:restore_team": ("login", "no absent no no no"),
    "accounts:invitation": ("gone gone no no no", "gone gone no no no"),
    "accounts:open_invitation": ("gone no no no no", "gone no no no no"),
    "credits:plans": ("page no no no no", "page no no no no"),
    "stripe_webhook": ("no absent no no no", "no absent no no no"),
    "api:root": ("page no no no no", "page no no no no"),
    "api:schema": ("page no no no no", "page no no no no"),
    "api:provider_webhook": ("no broken no no no", "no broken no no no"),
    "api:not_found": ("page no no no no", "page no no no no"),
    "generation:landing": ("page no no no no", "page no no no no"),
    "generation:start": ("no 422 no no no", "no 422 no no no"),
    "generation:file": ("absent no no no no", "absent no no no no"),
    "mfa_index": ("login", "page no no no no"),
    "mfa_authenticate": ("login", "studio"),
    "mfa_reauthenticate": ("login", "password"),
    "mfa_activate_totp": ("login", "password"),
    "mfa_deactivate_totp": ("login", "absent"),
    "mfa_view_recovery_codes": ("login", "absent no no no no"),
    "mfa_generate_recovery_codes": ("login", "password"),
    "mfa_download_recovery_codes": ("login", "absent"),
    "usersessions_list": ("login", "page /accounts/sessions/ /accounts/sessions/ no no"),
    "account_login": ("page page page no no", "studio"),
    "account_logout": ("/ / no no no", "page / no no no"),
    "account_inactive": ("page no no no no", "page no no no no"),
    "account_signup": ("page page page no no", "studio"),
    "account_reauthenticate": ("login", "page page page no no"),
    "account_email": ("login", "page /accounts/email/ /accounts/email/ no no"),
    "account_email_verification_sent": ("page no no no no", "page no no no no"),
    "account_change_password": ("login", "page page page no no"),
    "account_set_password": ("login", "/accounts/password/change/"),
    "account_reset_password": ("page page page no no", "page page page no no"),
    "account_confirm_login_code": ("login", "studio"),
    "account_confirm_email": ("page absent no no no", "page absent no no no"),
    "account_reset_password_from_key_done": ("page no no no no", "page no no no no"),
    "account_reset_password_from_key": ("page", "page"),
    "account_reset_password_done": ("page no no no no", "page no no no no"),
}
# Pages of the admin that open for staff without any right; all others of it refuse them.
OF_ALL_STAFF = {
    "admin:index",
    "admin:jsi18n",
    "admin:password_change",
    "admin:password_change_done",
}
