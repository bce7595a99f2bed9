from dataclasses import dataclass
from pathlib import Path

API_VERSION = "2026-10-28.endive"
WEBHOOK_RETRIES = (1, 5, 30, 300, 1800, 7200)  # seconds of the server's own clock after each failed try


@dataclass
class Config:
    host: str = "127.0.0.1"
    port: int = 8082
    secret_key: str = "sk_test_local"  # noqa: S105 - of a server that has no money
    webhook_url: str = ""
    webhook_secret: str = "whsec_local"  # noqa: S105
    country: str = "US"
    currency: str = "usd"  # what the account is paid out in: the currency of its balance
    search_lag: int = 20  # seconds until a search finds what has changed
    meter_lag: float = 1.0  # seconds until sums have a meter event, and until what is wrong with it is reported
    invoice_grace: int = 3600  # seconds that an invoice of a period stays a draft
    webhook_retries: tuple[int, ...] = WEBHOOK_RETRIES

    state_dir: Path | None = None  # nothing outlives the process without

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}"
