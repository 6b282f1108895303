import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('generation', '0004_queue'),
    ]

    operations = [
        migrations.CreateModel(
            name='BatchProfile',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('hardware', models.CharField(max_length=120)),
                ('model', models.CharField(max_length=60)),
                ('revision', models.CharField(max_length=64)),
                ('width', models.PositiveIntegerField()),
                ('height', models.PositiveIntegerField()),
                ('images_max', models.PositiveSmallIntegerField()),
                ('milliseconds', models.JSONField(default=dict, help_text='What a run took, by its number of pictures.')),
                ('measured_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('hardware', 'model', 'revision', 'width', 'height'), name='batch_profile_once_per_size'), models.CheckConstraint(condition=models.Q(('images_max__gte', 1)), name='batch_profile_allows_a_picture')],
            },
        ),
        migrations.CreateModel(
            name='Node',
            fields=[
                ('name', models.CharField(help_text='Host, device and process, as jobs name it.', max_length=120, primary_key=True, serialize=False)),
                ('host', models.CharField(max_length=80)),
                ('device', models.CharField(max_length=16)),
                ('hardware', models.CharField(blank=True, max_length=120)),
                ('memory_bytes', models.PositiveBigIntegerField(default=0)),
                ('state', models.CharField(choices=[('loading', 'Loading'), ('idle', 'Idle'), ('busy', 'Busy'), ('stopped', 'Stopped')], default='loading', max_length=8)),
                ('serves', models.JSONField(default=list, help_text='The models it takes jobs for.')),
                ('resident', models.JSONField(default=list, help_text='What it holds now, with bytes.')),
                ('job_ids', models.JSONField(default=list, help_text='What it draws now.')),
                ('jobs_done', models.PositiveIntegerField(default=0)),
                ('jobs_per_minute', models.FloatField(default=0, help_text='Over its last minutes.')),
                ('idle_share', models.FloatField(default=1, help_text='Of its last minutes, 0 to 1.')),
                ('loads', models.PositiveIntegerField(default=0)),
                ('swaps', models.PositiveIntegerField(default=0, help_text='Loads that had to make another model leave.')),
                ('started_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('last_heartbeat_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'indexes': [models.Index(fields=['last_heartbeat_at'], name='node_heartbeats')],
                'constraints': [models.CheckConstraint(condition=models.Q(('idle_share__gte', 0), ('idle_share__lte', 1)), name='node_idle_share_is_a_share')],
            },
        ),
    ]
