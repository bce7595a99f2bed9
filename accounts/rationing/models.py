"""What the database holds for rationing: counts for all processes, and who was refused."""

from django.db import models

NAME_CHARS = 200


class Ration(models.Model):
    """How much of an allowance has been handed out in a minute, to all processes together."""

    name = models.CharField(primary_key=True, max_length=NAME_CHARS)  # the allowance's, and whose it is
    minute = models.BigIntegerField()  # since 1970; the newest one that anybody has begun
    used = models.BigIntegerField(default=0)
    granted = models.BigIntegerField(default=0)  # to the one that asked last

    def __str__(self) -> str:
        return self.name


class FailedTries(models.Model):
    """Failed tries of one subject, and how long the next has to wait. Times are in milliseconds since 1970."""

    name = models.CharField(primary_key=True, max_length=NAME_CHARS)  # the penalty's, and whose it is
    count = models.BigIntegerField(default=0)
    delay_ms = models.BigIntegerField(default=0)
    last_ms = models.BigIntegerField(default=0)
    blocked_until_ms = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return self.name


class Refusal(models.Model):
    """Somebody who was refused; kept for operators to see."""

    allowance = models.CharField(max_length=40)
    subject = models.CharField(max_length=160)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField(db_index=True)
    # Not each request: once a minute, or wait, for each process that refused.
    count = models.PositiveBigIntegerField(default=1, verbose_name="times")

    class Meta:
        ordering = ("-last_at",)
        constraints = [models.UniqueConstraint(fields=["allowance", "subject"], name="one_refusal_per_subject")]

    def __str__(self) -> str:
        return f"{self.allowance} {self.subject}"
