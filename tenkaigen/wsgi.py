"""The door for gunicorn. It stays shut while the settings are unsafe."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tenkaigen.settings")
application = get_wsgi_application()

from tenkaigen.checks import refuse_unsafe_start  # noqa: E402  (needs the apps that the line above has loaded)

refuse_unsafe_start()
