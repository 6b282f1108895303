from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('credits', '0005_prices_in_force_never_change'),
    ]

    operations = [
        migrations.AlterField(
            model_name='entry',
            name='wallet',
            field=models.ForeignKey(
                db_index=False, on_delete=models.deletion.PROTECT, related_name='entries', to='credits.wallet'
            ),
        ),
        migrations.AddIndex(
            model_name='entry',
            index=models.Index(fields=['wallet', 'created_at', 'seq'], name='entry_by_time'),
        ),
    ]
