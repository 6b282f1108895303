"""What is counted by day."""

from django.db import models

from accounts.models import Team


class ExpansionUse(models.Model):
    """What a team took of Gemini on one day (UTC), against its share."""

    team = models.ForeignKey(Team, models.CASCADE, related_name="expansion_uses")
    day = models.DateField()
    calls = models.PositiveIntegerField(default=0)
    tokens = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["day", "team"], name="expansion_use_once_per_day_and_team")]

    def __str__(self) -> str:
        return f"{self.tokens} tokens of {self.team_id} on {self.day}"


class DayCount(models.Model):
    """How often something happened on one day (UTC). Counts only: nothing here leads to a person."""

    day = models.DateField()
    name = models.CharField(max_length=40)
    count = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["day", "name"], name="day_count_once_per_day_and_name")]

    def __str__(self) -> str:
        return f"{self.count} {self.name} on {self.day}"
