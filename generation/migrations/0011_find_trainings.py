from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("generation", "0010_node_kinds")]

    operations = [
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(("kind__in", ["creation", "refinement"]), ("status", "completed")),
                fields=["model", "-finished_at"],
                name="job_trainings",
            ),
        ),
    ]
