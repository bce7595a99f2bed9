from django.apps import AppConfig


class GitHubIntegrationConfig(AppConfig):
    name = "github_integration"
    verbose_name = "GitHub"
    default_auto_field = "django.db.models.BigAutoField"
