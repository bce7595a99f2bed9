"""Texts of ours that quote code as `this`."""

from __future__ import annotations

import re

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

register = template.Library()
CODE = re.compile(r"`([^`]+)`")


@register.filter
def quoted(text: str) -> SafeString:
    """Return a text with what stands between backquotes as code; escaped, whatever else is in it."""
    return mark_safe(CODE.sub(r"<code>\1</code>", escape(text)))  # noqa: S308 - escaped first
