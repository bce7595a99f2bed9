from .checks import answer, exchange, form_of, notification, recorded, request
from .judge import Judge

__all__ = ["Judge", "answer", "exchange", "form_of", "notification", "recorded", "request"]
