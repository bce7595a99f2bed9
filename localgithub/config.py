from dataclasses import dataclass, field
from pathlib import Path

API_VERSIONS = {"github.com": ("2022-11-28", "2026-03-10"), "ghes-3.19": ("2022-11-28",)}
DEFAULT_VERSION = "2022-11-28"


@dataclass
class Config:
    """What the command line said."""

    repositories: dict[str, Path]
    state_dir: Path
    host: str = "127.0.0.1"
    port: int = 8081
    blob_port: int = 0
    app_id: int = 1
    client_id: str = "Iv1.local"
    app_slug: str = "local-spells"
    app_public_key: str = ""
    installation_id: int = 1
    webhook_url: str = ""
    webhook_secret: str = ""
    api: str = "github.com"
    personal_token: str = ""
    person: str = "local-person"  # the login of the personal token's owner, and of runs started without a token
    concurrency: int = 4
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    variables: dict[str, str] = field(default_factory=dict)
    actions_source: str = "https://github.com"  # the source of actions that have no stand-in here
    minute: float = 60.0  # seconds in a minute of timeout-minutes; tests have no hour
    cancel_grace: float = 300.0  # seconds for `if: always()` steps after a cancel
    rate_limit: int = 15_000  # requests an hour; counted and told, never enforced unless a fault asks for it
    permissions: dict[str, str] = field(
        default_factory=lambda: {
            "actions": "write",
            "checks": "write",
            "contents": "write",
            "metadata": "read",
            "statuses": "write",
        }
    )
    # What the App asks for, where the installation's owner has not accepted all of it; None: the same.
    wanted_permissions: dict[str, str] | None = None
    events: list[str] = field(default_factory=lambda: ["push", "workflow_job", "workflow_run"])
    environments: dict[str, list[str]] = field(default_factory=dict)  # by full name of the repository
    watch_pushes: bool = False

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def blob_url(self) -> str:
        """The origin of logs and artifacts: another than the API's, as on GitHub."""
        return f"http://{self.host}:{self.blob_port}"

    @property
    def account(self) -> str:
        """The login under which the App of the command line is installed."""
        return next(iter(self.repositories)).split("/")[0]

    @property
    def bot(self) -> str:
        return f"{self.app_slug}[bot]"
