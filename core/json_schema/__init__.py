"""JSON Schema 2020-12: checking spells' schemas, and inputs and outputs against them, with bounded work.

jsonschema-rs does the work, always with a retriever that refuses: by default it would fetch `http://` and read
`file://` references, which opens our network and disk to the author of a schema.
"""

from core.json_schema.checking import check
from core.json_schema.defaults import TooLarge, with_defaults
from core.json_schema.documents import violations
from core.json_schema.parts import BadSchema, pointer

__all__ = ["BadSchema", "TooLarge", "check", "pointer", "violations", "with_defaults"]
