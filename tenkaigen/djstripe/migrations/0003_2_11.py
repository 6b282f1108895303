from django.db import migrations


class Migration(migrations.Migration):
    """Carries the name that dj-stripe records; `0001_initial` has made everything."""

    dependencies = [("djstripe", "0002_2_10")]
    operations = []
