from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("credits", "0009_plan_model_limits")]

    operations = [
        migrations.AddField(
            model_name="notice",
            name="mail_due_at",
            field=models.DateTimeField(editable=False, help_text="Nobody sends its mail before this.", null=True),
        ),
        migrations.AddField(
            model_name="notice",
            name="mail_attempts",
            field=models.PositiveSmallIntegerField(
                default=0, db_default=0, editable=False, help_text="Begun, and not heard of."
            ),
        ),
    ]
