
import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('credits', '0008_fewer_indexes_under_the_lock'),
    ]

    operations = [
        migrations.AddField(
            model_name='plan',
            name='model_storage_bytes',
            field=models.BigIntegerField(default=1000000000, help_text='For training pictures and trained versions.', validators=[django.core.validators.MinValueValidator(0)]),
        ),
        migrations.AddField(
            model_name='plan',
            name='models_max',
            field=models.PositiveIntegerField(default=1, help_text="Models of the team's own; 0: none."),
        ),
        migrations.AddField(
            model_name='plan',
            name='training_images_max',
            field=models.PositiveSmallIntegerField(default=40, help_text='Pictures that one model learns from.'),
        ),
    ]
