from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("generation", "0005_nodes")]

    operations = []
