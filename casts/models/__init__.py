"""What is cast: spells, casts, their events, their artifacts and their callbacks."""

from casts.models.alarm import Alarm, AlarmMessage
from casts.models.artifact import Artifact, ArtifactContents, LooseFile
from casts.models.callback import (
    ABOUT_ACCOUNTS,
    READS_ACCOUNTS,
    TO_BE_NAMED,
    Callback,
    CallbackAttempt,
    CallbackEndpoint,
    CallbackType,
    endpoint_id,
    message_id,
    message_id_of_end,
    usual_types,
)
from casts.models.cast import (
    FINAL,
    OPEN,
    Cast,
    CastEvent,
    CastStatus,
    IdempotencyRecord,
    SlotOrder,
)
from casts.models.metadata import MetadataMark, mark_of
from casts.models.price import REPORT, Priced, PriceKind
from casts.models.retention import Kept, RetentionMark, RetentionRule
from casts.models.spell import (
    AccountPrice,
    Spell,
    SpellHistory,
    SpellTarget,
    SpellVersion,
    standard_retention,
    standard_timeout,
    standard_ttl,
    valid_schema,
)
from casts.models.tally import CastTally, Round, WorkerProcess

__all__ = [
    "ABOUT_ACCOUNTS",
    "FINAL",
    "OPEN",
    "READS_ACCOUNTS",
    "REPORT",
    "TO_BE_NAMED",
    "AccountPrice",
    "Alarm",
    "AlarmMessage",
    "Artifact",
    "ArtifactContents",
    "Callback",
    "CallbackAttempt",
    "CallbackEndpoint",
    "CallbackType",
    "Cast",
    "CastEvent",
    "CastStatus",
    "CastTally",
    "IdempotencyRecord",
    "Kept",
    "LooseFile",
    "MetadataMark",
    "PriceKind",
    "Priced",
    "RetentionMark",
    "RetentionRule",
    "Round",
    "SlotOrder",
    "Spell",
    "SpellHistory",
    "SpellTarget",
    "SpellVersion",
    "WorkerProcess",
    "endpoint_id",
    "mark_of",
    "message_id",
    "message_id_of_end",
    "standard_retention",
    "standard_timeout",
    "standard_ttl",
    "usual_types",
    "valid_schema",
]
