"""The line: one row for each team and kind of job. Written only by `generation.slots`."""

from django.db import models
from django.db.models import Q

from accounts.models import Team
from generation.models.jobs import Job


class TeamSlot(models.Model):
    """A team's place in the line, and how many of its jobs of one kind may run at a time.

    Every claim locks the rows of the teams it serves, so that a limit of 1 is 1 also when twenty workers look at once.
    What runs is counted in the job rows under that lock: a number kept here could drift.
    """

    team = models.ForeignKey(Team, models.CASCADE, related_name="slots")
    kind = models.CharField(max_length=10, choices=Job.Kind.choices)
    jobs_max = models.PositiveSmallIntegerField(help_text="Jobs of this kind at a time, as the plan says.")
    queue_priority = models.SmallIntegerField(default=0, help_text="As the plan says.")
    turn_at = models.DateTimeField(null=True, help_text="When a worker last took a job of it.")
    due_at = models.DateTimeField(
        null=True, help_text="Its place in the line: the earliest is next. Empty: none waits."
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["team", "kind"], name="slot_once_per_team_and_kind"),
            models.CheckConstraint(condition=Q(jobs_max__gte=1), name="slot_lets_something_run"),
        ]
        indexes = [models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="slot_line")]

    def __str__(self) -> str:
        return f"{self.kind} of {self.team_id}"
