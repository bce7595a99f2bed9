"""Converters of paths that every app's addresses may have."""

from django.urls import register_converter
from django.urls.converters import IntConverter


class RowConverter(IntConverter):
    """The number of a row, as long as any has; a longer one would be an error of the database."""

    regex = "[0-9]{1,18}"


register_converter(RowConverter, "row")
