from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("generation", "0012_jobs_know_their_key"),
    ]

    operations = [
        migrations.AddField(
            model_name="node",
            name="kinds",
            field=models.JSONField(db_default=[], default=list, help_text="The kinds of job it takes."),
        ),
    ]
