"""Why a job did not end well, and what follows. Pure."""

from dataclasses import dataclass, replace
from enum import StrEnum


class FailureKind(StrEnum):
    """What follows a failure. Every attempt was counted at its claim; `JOB_ATTEMPTS_MAX` bounds them."""

    RETRYABLE = "retryable"  # again, after a back-off that grows
    OUTAGE = "outage"  # as retryable, but the attempts last longer than the store is usually away
    OUT_OF_MEMORY = "out_of_memory"  # once more, in a batch half as large
    FINAL = "final"  # never again: the same would happen
    POISON = "poison"  # never again, and staff look at it


# The first pause in RETRY_BASE_SECONDS, what each next one is multiplied by, and the least jitter. Of an outage the
# pauses are 30 s and 300 s by default: five minutes without a store must not cost people their pictures.
BACK_OFFS = {FailureKind.RETRYABLE: (1, 2, 0.8), FailureKind.OUTAGE: (6, 10, 1.0)}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job did not end well: a stable code for programs, a sentence for the person, and what follows."""

    code: str
    message: str
    kind: FailureKind = FailureKind.FINAL
    images: int = 0  # that shared the run, where it ran out of memory


LOST_TOO_OFTEN = Failure(
    "worker_lost", "The picture could not be made: its worker stopped too often.", FailureKind.POISON
)
TRAINING_LOST_TOO_OFTEN = replace(
    LOST_TOO_OFTEN, message="The training could not be done: its worker stopped too often."
)
