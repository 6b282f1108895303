from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("generation", "0004_queue")]

    operations = []
