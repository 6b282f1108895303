import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial"), ("generation", "0003_find_ended_jobs")]

    operations = [
        migrations.RemoveIndex(model_name="job", name="job_queue"),
        migrations.RemoveField(model_name="job", name="priority"),
        migrations.CreateModel(
            name='TeamSlot',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('image', 'image generation'), ('creation', 'model creation'), ('refinement', 'model refinement')], max_length=10)),
                ('jobs_max', models.PositiveSmallIntegerField(help_text='Jobs of this kind at a time, as the plan says.')),
                ('queue_priority', models.SmallIntegerField(default=0, help_text='As the plan says.')),
                ('turn_at', models.DateTimeField(help_text='When a worker last took a job of it.', null=True)),
                ('due_at', models.DateTimeField(help_text='Its place in the line: the earliest is next. Empty: none waits.', null=True)),
            ],
        ),
        migrations.AddField(
            model_name='job',
            name='batch_key',
            field=models.CharField(blank=True, help_text='Equal keys may share a run; empty: alone.', max_length=200),
        ),
        migrations.AddField(
            model_name='job',
            name='batch_max',
            field=models.PositiveSmallIntegerField(help_text='Images that may share its run: it ran out of memory with more.', null=True),
        ),
        migrations.AddField(
            model_name='job',
            name='is_quarantined',
            field=models.BooleanField(default=False, help_text='It failed and nobody knows why.', verbose_name='needs a look'),
        ),
        migrations.AlterField(
            model_name='job',
            name='run_after',
            field=models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), help_text='The order among the jobs of one team.'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(condition=models.Q(('status', 'queued')), fields=['team', 'model', 'run_after'], name='job_queue'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(condition=models.Q(('status', 'queued')), fields=['team', 'batch_key', 'run_after'], name='job_mates'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(condition=models.Q(('status', 'queued')), fields=['team', 'kind', 'run_after'], include=('count',), name='job_line'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(condition=models.Q(('status', 'processing')), fields=['team', 'kind'], name='job_running'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(condition=models.Q(('is_quarantined', True)), fields=['-finished_at'], name='job_quarantine'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(('is_quarantined', False), ('status', 'failed'), _connector='OR'), name='job_quarantined_only_when_failed'),
        ),
        migrations.AddField(
            model_name='teamslot',
            name='team',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='slots', to='accounts.team'),
        ),
        migrations.AddIndex(
            model_name='teamslot',
            index=models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at'], name='slot_line'),
        ),
        migrations.AddConstraint(
            model_name='teamslot',
            constraint=models.UniqueConstraint(fields=('team', 'kind'), name='slot_once_per_team_and_kind'),
        ),
        migrations.AddConstraint(
            model_name='teamslot',
            constraint=models.CheckConstraint(condition=models.Q(('jobs_max__gte', 1)), name='slot_lets_something_run'),
        ),
    ]
