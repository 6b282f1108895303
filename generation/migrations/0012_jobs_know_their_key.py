import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0006_people_and_teams_go"), ("generation", "0008_custom_models")]

    operations = [
        migrations.AddField(
            model_name="job",
            name="api_key",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                help_text="The key it was submitted with; empty: by a person on a page.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="accounts.apikey",
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(("api_key__isnull", False)),
                fields=["api_key", "created_at"],
                include=("charged_centi",),
                name="job_by_key",
            ),
        ),
    ]
