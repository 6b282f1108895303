
import uuid
from decimal import Decimal

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0006_people_and_teams_go'),
        ('generation', '0007_job_plan'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ReferenceModel',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('slug', models.SlugField(max_length=40, unique=True)),
                ('name', models.CharField(max_length=60)),
                ('position', models.PositiveSmallIntegerField(default=0)),
                ('is_active', models.BooleanField(default=True)),
                ('category', models.CharField(choices=[('fashion', 'Fashion'), ('fitness', 'Fitness'), ('beauty', 'Beauty'), ('lifestyle', 'Lifestyle'), ('business', 'Business')], max_length=10)),
                ('description', models.CharField(max_length=300)),
                ('complexity', models.DecimalField(decimal_places=2, max_digits=3, validators=[django.core.validators.MinValueValidator(Decimal('1')), django.core.validators.MaxValueValidator(Decimal('2'))])),
                ('base_model', models.CharField(blank=True, help_text='Of the catalogue. Empty: TRAINING_BASE_MODEL.', max_length=60)),
                ('recipe', models.CharField(help_text="`{prompt}` stands for the person's words.", max_length=400)),
                ('negative_prompt', models.CharField(blank=True, max_length=400)),
                ('example_prompt', models.CharField(help_text='What its preview shows.', max_length=200)),
                ('defaults', models.JSONField(blank=True, default=dict, help_text='Of a request: size, num_inference_steps, guidance_scale.')),
                ('preview', models.CharField(blank=True, help_text='A file under static/; empty: none yet.', max_length=200)),
            ],
            options={
                'ordering': ['position', 'slug'],
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='TrainingImage',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('position', models.PositiveIntegerField(help_text='The order in which they came.')),
                ('key', models.CharField(max_length=300, unique=True)),
                ('thumbnail_key', models.CharField(max_length=300)),
                ('sha256', models.CharField(help_text='Of our file.', max_length=64)),
                ('likeness', models.BigIntegerField(help_text='64 bits that differ in few places between pictures that look alike.')),
                ('width', models.PositiveIntegerField()),
                ('height', models.PositiveIntegerField()),
                ('size_bytes', models.PositiveBigIntegerField()),
                ('caption', models.CharField(blank=True, max_length=300)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
            ],
        ),
        migrations.AddField(
            model_name='job',
            name='reference_model',
            field=models.CharField(blank=True, db_default='', default='', help_text='The look it was drawn with.', max_length=40),
        ),
        migrations.AlterField(
            model_name='job',
            name='plan',
            field=models.CharField(blank=True, db_default='', default='', help_text="The team's plan when it was submitted.", max_length=40),
        ),
        migrations.CreateModel(
            name='CustomModel',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(blank=True, max_length=60)),
                ('description', models.CharField(blank=True, max_length=300)),
                ('trigger_word', models.CharField(blank=True, max_length=30)),
                ('base_model', models.CharField(blank=True, help_text='Of the catalogue; fixed at the first training.', max_length=60)),
                ('train_steps', models.PositiveIntegerField(blank=True, help_text='Empty: what suits the pictures.', null=True)),
                ('train_text_encoder', models.BooleanField(default=False)),
                ('has_consent', models.BooleanField(default=False, help_text='The people in the pictures agreed.')),
                ('submitted_at', models.DateTimeField(blank=True, help_text='Of the first training; empty: a draft.', null=True)),
                ('deleted_at', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('updated_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('team', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='custom_models', to='accounts.team')),
                ('user', models.ForeignKey(help_text='Who began it.', on_delete=django.db.models.deletion.PROTECT, related_name='custom_models', to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.CreateModel(
            name='ModelVersion',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('number', models.PositiveIntegerField(help_text='1 is the creation.')),
                ('iteration', models.PositiveIntegerField(help_text='0: the creation; the first refinement is 1.')),
                ('settings', models.JSONField(help_text='Steps, rank, learning rate, side and seed of the training.')),
                ('images_count', models.PositiveIntegerField()),
                ('steps_done', models.PositiveIntegerField(default=0, help_text='At the newest checkpoint.')),
                ('checkpoint_key', models.CharField(blank=True, max_length=300)),
                ('checkpoint_sha256', models.CharField(blank=True, max_length=64)),
                ('losses', models.JSONField(default=list, help_text='[step, mean loss since the last point], rising.')),
                ('samples', models.JSONField(default=list, help_text='Pictures of fixed prompts: step, prompt, seed, key.')),
                ('adapter_key', models.CharField(blank=True, max_length=300)),
                ('adapter_sha256', models.CharField(blank=True, max_length=64)),
                ('adapter_bytes', models.PositiveBigIntegerField(default=0)),
                ('base_revision', models.CharField(blank=True, max_length=64)),
                ('deleted_at', models.DateTimeField(blank=True, help_text='Its files are gone; the row keeps the history.', null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
                ('job', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='trained_version', to='generation.job')),
                ('model', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='versions', to='generation.custommodel')),
                ('parent', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='children', to='generation.modelversion')),
            ],
        ),
        migrations.AddField(
            model_name='custommodel',
            name='current',
            field=models.ForeignKey(blank=True, help_text='The one people draw with.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='generation.modelversion'),
        ),
        migrations.AddField(
            model_name='job',
            name='model_version',
            field=models.ForeignKey(blank=True, db_index=False, help_text="Of a model of the team's own: what it was drawn with.", null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='drawn_jobs', to='generation.modelversion'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(condition=models.Q(('model_version__isnull', False)), fields=['model_version', '-created_at'], name='job_by_model_version'),
        ),
        migrations.AddIndex(
            model_name='referencemodel',
            index=models.Index(fields=['category', 'position'], name='reference_model_list'),
        ),
        migrations.AddConstraint(
            model_name='referencemodel',
            constraint=models.CheckConstraint(condition=models.Q(('complexity__gte', 1), ('complexity__lte', 2)), name='reference_model_complexity_is_1_to_2'),
        ),
        migrations.AddField(
            model_name='custommodel',
            name='reference',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='custom_models', to='generation.referencemodel'),
        ),
        migrations.AddField(
            model_name='trainingimage',
            name='like',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='generation.trainingimage'),
        ),
        migrations.AddField(
            model_name='trainingimage',
            name='model',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='pictures', to='generation.custommodel'),
        ),
        migrations.AddField(
            model_name='trainingimage',
            name='team',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='training_images', to='accounts.team'),
        ),
        migrations.AddConstraint(
            model_name='modelversion',
            constraint=models.UniqueConstraint(fields=('model', 'number'), name='version_number_once_per_model'),
        ),
        migrations.AddConstraint(
            model_name='modelversion',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('adapter_bytes', 0), ('adapter_key', ''), ('adapter_sha256', '')), models.Q(models.Q(('adapter_key', ''), _negated=True), models.Q(('adapter_sha256', ''), _negated=True), ('adapter_bytes__gt', 0)), _connector='OR'), name='version_adapter_has_a_hash'),
        ),
        migrations.AddConstraint(
            model_name='modelversion',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('iteration', 0), ('parent', None)), models.Q(('iteration__gt', 0), ('parent__isnull', False)), _connector='OR'), name='version_refines_a_parent'),
        ),
        migrations.AddIndex(
            model_name='custommodel',
            index=models.Index(condition=models.Q(('deleted_at', None)), fields=['team', '-created_at', '-id'], name='custom_model_list'),
        ),
        migrations.AddIndex(
            model_name='custommodel',
            index=models.Index(condition=models.Q(('deleted_at__isnull', False)), fields=['deleted_at'], name='custom_model_deleted'),
        ),
        migrations.AddConstraint(
            model_name='custommodel',
            constraint=models.UniqueConstraint(condition=models.Q(('deleted_at', None), models.Q(('trigger_word', ''), _negated=True)), fields=('team', 'trigger_word'), name='custom_model_trigger_word_once_per_team'),
        ),
        migrations.AddConstraint(
            model_name='custommodel',
            constraint=models.CheckConstraint(condition=models.Q(('submitted_at', None), models.Q(models.Q(('name', ''), _negated=True), models.Q(('trigger_word', ''), _negated=True), models.Q(('base_model', ''), _negated=True), ('reference__isnull', False)), _connector='OR'), name='custom_model_is_complete_when_submitted'),
        ),
        migrations.AddIndex(
            model_name='trainingimage',
            index=models.Index(fields=['model', 'position'], name='training_image_order'),
        ),
        migrations.AddIndex(
            model_name='trainingimage',
            index=models.Index(fields=['team'], include=('size_bytes',), name='training_image_storage'),
        ),
        migrations.AddConstraint(
            model_name='trainingimage',
            constraint=models.UniqueConstraint(fields=('model', 'sha256'), name='training_image_once_per_model'),
        ),
        migrations.AddConstraint(
            model_name='trainingimage',
            constraint=models.CheckConstraint(condition=models.Q(('size_bytes__gt', 0)), name='training_image_has_content'),
        ),
    ]
