from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("generation", "0006_providers")]

    operations = [
        migrations.AddField(
            model_name="job",
            name="plan",
            field=models.CharField(
                blank=True, default="", help_text="The team's plan when it was submitted.", max_length=40
            ),
        ),
    ]
