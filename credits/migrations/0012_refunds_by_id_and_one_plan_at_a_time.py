"""A refund may fail, so each has a row; and a team begins one plan at a time, so that nobody pays for two.

A refund that was noted before has no row: the next news of its charge bring all of them.
"""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models.functions import Now

ONE_EACH = """
UPDATE credits_purchase SET state = 'expired' WHERE kind = 'plan' AND state = 'open' AND id NOT IN (
    SELECT DISTINCT ON (team_id) id FROM credits_purchase
    WHERE kind = 'plan' AND state = 'open' ORDER BY team_id, created_at DESC, id
)
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0006_people_and_teams_go"), ("credits", "0011_entries_are_not_truncated")]
    operations = [
        migrations.CreateModel(
            name="Refund",
            fields=[
                ("refund_id", models.CharField(max_length=80, primary_key=True, serialize=False)),
                ("amount_cents", models.PositiveBigIntegerField()),
                ("has_failed", models.BooleanField()),
                ("created_at", models.DateTimeField(db_default=Now(), editable=False)),
                ("updated_at", models.DateTimeField(db_default=Now(), editable=False)),
                (
                    "payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="refunds", to="credits.payment"
                    ),
                ),
            ],
        ),
        migrations.RunSQL(ONE_EACH, migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name="purchase",
            constraint=models.UniqueConstraint(
                condition=models.Q(kind="plan", state="open"), fields=("team",), name="purchase_of_one_plan_at_a_time"
            ),
        ),
    ]
