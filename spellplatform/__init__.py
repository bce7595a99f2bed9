# The one place that says it: pyproject.toml, `manage.py version` and the OpenAPI document read it here.
__version__ = "0.1.0"
