"""All settings, read once from the environment (and from `.env` beside manage.py, if there is one).

Every name is explained in docs/reference/configuration.md; a test keeps that page complete.
"""

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from spellplatform import __version__
from spellplatform.env import (
    BadSetting,
    Env,
    bind_address,
    database_config,
    host_names,
    host_of,
    mail_config,
    networks,
    read_beside,
    repository_name,
    umask_of,
    workflow_file,
)
from spellplatform.storage import storage_of

BASE_DIR = Path(__file__).resolve().parent.parent

read_beside(BASE_DIR, os.environ)
env = Env()

# What is written holds inputs, outputs and secrets: it is this user's alone, from the first file on.
UMASK: int = umask_of(env.str("UMASK", default="077"))
os.umask(UMASK)

# --- The service -----------------------------------------------------------------------------------------
DEBUG: bool = env.bool("DEBUG", default=False)
# Not refused here when it is empty: help, and commands that sign nothing, need none. Web and worker check it.
SECRET_KEY: str = env.str("SECRET_KEY", default="only-for-debug" if DEBUG else "")
# Old keys: what they signed still opens, nothing is signed with them.
SECRET_KEY_FALLBACKS: list[str] = env.list("SECRET_KEY_FALLBACKS", default=[])
# Seal secrets in the database (core.sealing), the newest first. Empty: a key that is derived from SECRET_KEY does.
FIELD_ENCRYPTION_KEYS: list[str] = env.list("FIELD_ENCRYPTION_KEYS", default=[])
# Where clients reach this service; every link we hand out begins with it.
PUBLIC_URL: str = env.str("PUBLIC_URL", default="http://127.0.0.1:8000").strip().rstrip("/")
ALLOWED_HOSTS: list[str] = host_names(
    env.list("ALLOWED_HOSTS", default=[host for host in (host_of(PUBLIC_URL), "127.0.0.1", "localhost") if host])
)
# How long browsers shall come by TLS alone; 0: as they like.
HSTS_SECONDS: int = env.int("HSTS_SECONDS", default=365 * 86_400 if PUBLIC_URL.startswith("https://") else 0, least=0)
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[PUBLIC_URL])
# Whose X-Forwarded-For is believed (core.api.address). Only a process on this machine comes from the default ones.
TRUSTED_PROXIES: list[str] = networks(env.list("TRUSTED_PROXIES", default=["127.0.0.0/8", "::1"]))
# Who may read /metrics: who shows one of these, or whose connection comes from there (core.asgi.health).
METRICS_TOKENS: list[str] = env.list("METRICS_TOKEN", default=[])  # several while it is changed
METRICS_ALLOWED: list[str] = networks(env.list("METRICS_ALLOWED", default=["127.0.0.0/8", "::1"]), "METRICS_ALLOWED")
LOG_LEVEL: str = env.str("LOG_LEVEL", default="INFO", among=("DEBUG", "INFO", "WARNING", "ERROR"))
ACCESS_LOG: bool = env.bool("ACCESS_LOG", default=True)  # a line for each request
# Traces (core.telemetry.tracing). These are OpenTelemetry's own names; what else there is of them, its SDK reads.
TRACES_URL: str = env.str(
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", default=env.str("OTEL_EXPORTER_OTLP_ENDPOINT", default="")
).strip()
TRACES_PROTOCOL: str = env.str(
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", default=env.str("OTEL_EXPORTER_OTLP_PROTOCOL", default="http/protobuf")
)
TRACES_HEADERS: str = env.str("OTEL_EXPORTER_OTLP_HEADERS", default="")
TRACES_OFF: bool = (
    env.bool("OTEL_SDK_DISABLED", default=False) or env.str("OTEL_TRACES_EXPORTER", default="otlp") == "none"
)
TRACES: bool = bool(TRACES_URL) and not TRACES_OFF
VERSION = __version__
LOG_FORMAT: str = env.str("LOG_FORMAT", default="console" if DEBUG else "json", among=("json", "console"))

# --- Database --------------------------------------------------------------------------------------------
VAR_DIR = Path(env.str("VAR_DIR", default=str(BASE_DIR / "var"))).expanduser()
KEEP_CONNECTIONS = True  # each thread keeps its own; tests, which drop their database, do not


def database(url: str) -> dict[str, Any]:
    config = database_config(url)
    if config["ENGINE"] == "django.db.backends.sqlite3":
        config["ENGINE"] = "spellplatform.sqlite"
        try:
            Path(config["NAME"]).parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            why = f"The folder of the SQLite file can't be made: {exc.strerror}."
            raise BadSetting(f"{why} See DATABASE_URL and VAR_DIR in docs/reference/configuration.md.") from None
        # IMMEDIATE: a transaction takes the write lock when it begins, so a guarded UPDATE never fails half way.
        config["OPTIONS"] = {
            "timeout": 20,  # seconds that a statement waits for a lock
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        }
    else:
        config["OPTIONS"] = {
            # A client that hangs in a transaction holds an account's row: after half a minute it is disconnected.
            "options": "-c idle_in_transaction_session_timeout=30000",
            # A server that has gone silently is noticed in seconds, not in hours.
            **{"connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3},
            "tcp_user_timeout": 20000,
            "prepare_threshold": 5,  # the statements of core.db.compiled are prepared at their sixth use
            **config.get("OPTIONS", {}),
        }
    return config


DATABASES = {"default": database(env.str("DATABASE_URL", default=f"sqlite:///{quote(str(VAR_DIR / 'spell.sqlite3'))}"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- GitHub ----------------------------------------------------------------------------------------------
GITHUB_API_URL: str = env.str("GITHUB_API_URL", default="https://api.github.com").strip().rstrip("/")
# Blank: 2026-03-10 on github.com and ghe.com, none elsewhere (GHES <= 3.20 knows only its own default).
GITHUB_API_VERSION: str = env.str("GITHUB_API_VERSION", default="")
GITHUB_APP_ID: str = env.str("GITHUB_APP_ID", default="")  # the client ID works too
GITHUB_APP_PRIVATE_KEY: str = env.str("GITHUB_APP_PRIVATE_KEY", default="")  # PEM, PEM with \n, or a path
GITHUB_APP_INSTALLATION_ID: int | None = env.int("GITHUB_APP_INSTALLATION_ID", default=None, least=1)
GITHUB_TOKEN: str = env.str("GITHUB_TOKEN", default="")  # a fine-grained personal token, instead of an App
GITHUB_REPOSITORY: str = repository_name(env.str("GITHUB_REPOSITORY", default=""))  # for spells that name none
GITHUB_WORKFLOW_FILE: str = workflow_file(env.str("GITHUB_WORKFLOW_FILE", default="spell-execution-example.yml"))
GITHUB_WORKFLOW_REF: str = env.str("GITHUB_WORKFLOW_REF", default="main")
# Several while a secret is changed, separated by commas. An empty entry would let anyone sign: dropped.
GITHUB_WEBHOOK_SECRETS: list[str] = env.list("GITHUB_WEBHOOK_SECRET", default=[])
# What GitHub lets one installation do in a minute: a GET is 1 point, a POST 5. 0: no limit, as on most GHES.
GITHUB_POINTS_PER_MINUTE: int = env.int("GITHUB_POINTS_PER_MINUTE", default=900, least=0)
GITHUB_INPUTS_MAX: int = env.int("GITHUB_INPUTS_MAX", default=25, least=1)  # of a workflow; 10 on GHES <= 3.19
# Where the page /github/connect/ writes a new App's credentials: a `.env` file, or a folder. Blank: it writes none.
GITHUB_CONNECT_PATH: str = env.str("GITHUB_CONNECT_PATH", default="").strip()
GITHUB_TIMEOUT: float = env.float("GITHUB_TIMEOUT", default=10.0)  # seconds, per attempt

# --- Casts -----------------------------------------------------------------------------------------------
# How spells of each kind are run: a dotted path to a casts.runtime.Runtime.
SPELL_RUNTIMES = {
    "workflow_dispatch": "github_integration.runtime.WorkflowDispatch",
    "repository_dispatch": "github_integration.runtime.RepositoryDispatch",
}
# The queues of `runworker`: dotted paths to core.queue.worker.Work implementations.
WORK = [
    "casts.execution.steps.CastWork",
    "casts.execution.artifacts.ArtifactWork",
    "casts.execution.files.FileWork",
    "webhooks.inbox.DeliveryWork",
    "webhooks.sweep.SweepWork",
    "casts.callbacks.delivery.CallbackWork",
    "casts.tallies.TallyWork",
    "accounts.proof.work.LedgerCheckWork",
    "casts.alarms.watch.AlarmWork",
    "casts.alarms.messages.AlarmMessageWork",
    "github_integration.spell_files.work.SpellRepositoryWork",
    "github_integration.spell_files.sweep.RepositoryListWork",
    "casts.retention.work.RetentionWork",
]

# Who is told, after the commit, that a run has found its cast: functions of
# (a run's scope, its key there, the tag of a title where there is no key yet).
RUN_KNOWN = ["webhooks.inbox.run_known"]

# What else happens in the transaction that ends a cast: functions of the cast.
CAST_ENDED = ["casts.callbacks.outbox.enqueue"]

# What else happens in the transaction that tells an account's owner something: functions of the AccountEvent.
ACCOUNT_TOLD = ["casts.callbacks.outbox.enqueue_event"]

# What else happens in the transaction in which an account's credit falls below its mark, or is found below it when
# credit is booked or the mark is set: functions of (account's id, remaining cents). They are called with the credit's
# counter locked: they may add rows, and lock none that others lock before they book.
CREDIT_LOW: list[str] = []
# Who does something about a cast that the credit did not pay, after its transaction: functions that take the account's
# id and the cents that it needs, and return an accounts.credit.Remedy, or None.
CREDIT_REFUSED: list[str] = []

# What each worker does every ten minutes: functions that may run anywhere, any number of times.
SWEEPS = [
    "core.db.months.ensure",
    "casts.lifecycle.events.drop_months",
    "casts.spells.history.sweep",
    "webhooks.sweep.ensure",
    "github_integration.spell_files.sweep.ensure",
    "casts.tallies.ensure",
    "accounts.proof.work.ensure",
    "casts.alarms.watch.ensure",
    "casts.retention.work.ensure",
]

# What deletes what casts hold once it was kept for long enough (casts.retention.removal): functions of casts by kind.
# Inputs, outputs and what runs say are columns of the cast.
RETENTION = {
    "artifact": "casts.retention.removal.artifacts",
    "event": "casts.retention.removal.events",
    "delivery": "webhooks.retention.empty",
    "callback": "casts.retention.removal.callbacks",
    "idempotency": "casts.retention.removal.idempotency",
}
# What else is deleted by age: functions that delete some rows, and return how many.
PURGES = [
    "casts.lifecycle.idempotency.purge",
    "webhooks.inbox.purge",
    "accounts.rationing.refusals.purge",
    "accounts.sessions.purge",
    "casts.alarms.messages.purge",
]

# What each worker does every fifteen seconds, and when it stops: functions of the core.queue.worker.Worker.
WORKER_BEATS = ["casts.workers.beat"]

# What /metrics reads from the database at each look: functions that return core.telemetry.metrics.Sample.
METRICS = [
    "casts.metrics.open_casts",
    "casts.metrics.queues",
    "casts.metrics.workers",
    "casts.alarms.figures.attention",
    "github_integration.metrics.quota",
    "accounts.metrics.ledger",
]

# What /readyz looks at, by name and in this order: functions that say what is wrong. The storage is looked at besides.
READINESS = {
    "database": "core.telemetry.health.database",
    "migrations": "core.telemetry.health.migrations",
    "worker": "casts.workers.missing",
    "listener": "core.telemetry.health.listener",
}

# What is done once with a database that comes from a backup (`manage.py restored`): functions that say what they did.
RESTORED = [
    "core.queue.restored.end_claims",
    "casts.lifecycle.restored.look_for_runs_first",
    "accounts.sessions.end_all",
    "github_integration.restored.tell_orphans",
]

# What the admin's page "Needs attention" shows, from top to bottom: functions that return an
# core.admin.attention.Section for a user, or None if this one may not see it.
ATTENTION = [
    "casts.attention.workers",
    "casts.attention.stuck_casts",
    "casts.attention.refused_spells",
    "github_integration.attention.installations",
    "github_integration.spell_files.attention.spell_files",
    "casts.attention.missing_artifacts",
    "webhooks.attention.failing_deliveries",
    "casts.callbacks.attention.failing_callbacks",
    "accounts.rationing.attention.refusals",
    "accounts.proof.attention.ledger",
    "core.admin.months.attention",
]

# What else alarms are raised for: functions as those of ATTENTION.
ALARMS = ["casts.alarms.failing.failing_spells", "accounts.alarms.budgets"]

# What the admin's first page shows, from top to bottom: functions that return a core.admin.dashboard.Panel for a user,
# or None if this one may not see it.
DASHBOARD = [
    "casts.dashboard.panels.casts",
    "casts.dashboard.panels.times",
    "casts.dashboard.panels.slower_spells",
    "casts.dashboard.panels.failures",
    "casts.dashboard.queues.queues",
    "accounts.dashboard.spend",
    "github_integration.dashboard.quota",
    "webhooks.dashboard.lag",
]
# How old the count beside "Needs attention" in the admin's header may be; 0: there is none.
ATTENTION_COUNT_SECONDS: float = env.float("ATTENTION_COUNT_SECONDS", default=20.0, least=0)

ACCOUNT_MAX_OPEN: int = env.int("ACCOUNT_MAX_OPEN", default=1_000, least=1)  # casts, for accounts that name none
CAST_INPUT_MAX_CHARS: int = env.int("CAST_INPUT_MAX_CHARS", default=60_000, least=1)  # GitHub takes 65,535 in all
# Of UTF-8. One environment variable holds 131,072 on Linux, with its name.
CAST_INPUT_MAX_BYTES: int = env.int("CAST_INPUT_MAX_BYTES", default=130_000, least=1)
CAST_TTL_SECONDS: int = env.int("CAST_TTL_SECONDS", default=24 * 3600, least=1)  # for spells that name none
CAST_TIMEOUT_SECONDS: int = env.int("CAST_TIMEOUT_SECONDS", default=6 * 3600, least=1)  # likewise
CAST_LOOK_MIN_SECONDS: float = env.float("CAST_LOOK_MIN_SECONDS", default=5.0)  # between looks at a young run
CAST_LOOK_MAX_SECONDS: float = env.float("CAST_LOOK_MAX_SECONDS", default=45.0)  # and at an old one
CAST_LOOK_WATCHED_SECONDS: float = env.float("CAST_LOOK_WATCHED_SECONDS", default=3.0)  # while somebody follows live
# How long the run of an unknown dispatch is looked for, with answers, before the dispatch counts as lost.
CAST_LOST_SECONDS: float = env.float("CAST_LOST_SECONDS", default=300.0)
CAST_EXCLUSIVE_SECONDS: float = env.float("CAST_EXCLUSIVE_SECONDS", default=10.0)
# How long a finished run's artifacts are waited for before the cast ends without them.
CAST_ARTIFACT_WAIT_SECONDS: float = env.float("CAST_ARTIFACT_WAIT_SECONDS", default=120.0)
# After a cancel request, how long GitHub has before it is forced, and again before the cast ends regardless.
CAST_CANCEL_GRACE_SECONDS: float = env.float("CAST_CANCEL_GRACE_SECONDS", default=60.0)
LINK_DAYS: int = env.int("LINK_DAYS", default=7, least=1)  # life of the signed links in progress_url and events_url

ARTIFACT_ROOT = Path(env.str("ARTIFACT_ROOT", default=str(VAR_DIR / "artifacts"))).expanduser()
ARTIFACT_MAX_BYTES: int = env.int("ARTIFACT_MAX_BYTES", default=1024**3, least=0)  # per artifact
ARTIFACT_RETENTION_DAYS: int = env.days("ARTIFACT_RETENTION_DAYS", default=30, least=1)  # for spells that name none

# --- Retention: days; 0: for ever. Rules for single accounts and spells count in their place (casts.retention) ----
INPUT_RETENTION_DAYS: int = env.days("INPUT_RETENTION_DAYS", default=0, least=0)
OUTPUT_RETENTION_DAYS: int = env.days("OUTPUT_RETENTION_DAYS", default=0, least=0)
LOG_RETENTION_DAYS: int = env.days("LOG_RETENTION_DAYS", default=0, least=0)
EVENT_RETENTION_DAYS: int = env.days("EVENT_RETENTION_DAYS", default=0, least=0)
CALLBACK_RETENTION_DAYS: int = env.days("CALLBACK_RETENTION_DAYS", default=0, least=0)
IDEMPOTENCY_RETENTION_DAYS: int = env.days("IDEMPOTENCY_RETENTION_DAYS", default=7, least=1)
AUDIT_RETENTION_DAYS: int = env.days("AUDIT_RETENTION_DAYS", default=0, least=0)

# --- Rationing: requests a minute; 0: any number ---------------------------------------------------------
RATION_PER_KEY: int = env.int("RATION_PER_KEY", default=1200, least=0)
RATION_PER_ACCOUNT: int = env.int("RATION_PER_ACCOUNT", default=3000, least=0)
RATION_PER_LINK: int = env.int("RATION_PER_LINK", default=300, least=0)
RATION_PER_ADDRESS: int = env.int("RATION_PER_ADDRESS", default=600, least=0)  # of requests that show nothing
# Failed tries before the next has to wait, by address; 0: they are not counted.
RATION_BAD_KEYS: int = env.int("RATION_BAD_KEYS", default=20, least=0)
RATION_BAD_SIGNATURES: int = env.int("RATION_BAD_SIGNATURES", default=20, least=0)
RATION_FAILED_LOGINS: int = env.int("RATION_FAILED_LOGINS", default=10, least=0)
RATION_FAILED_LOGINS_PER_USER: int = env.int("RATION_FAILED_LOGINS_PER_USER", default=10, least=0)
RATION_LONGEST_WAIT_SECONDS: int = env.int("RATION_LONGEST_WAIT_SECONDS", default=900, least=1)
# Where it is counted: blank, the database; or redis://host:port/number.
RATION_URL: str = env.str("RATION_URL", default="").strip()
RATION_STORE = "accounts.rationing.store.DatabaseStore"

# --- Webhooks --------------------------------------------------------------------------------------------
# Between two readings of GitHub's delivery log for what never reached us; 0: never.
DELIVERY_SWEEP_SECONDS: float = env.float("DELIVERY_SWEEP_SECONDS", default=300.0)
SPELL_FILES_SECONDS: float = env.float("SPELL_FILES_SECONDS", default=600.0)  # between lists of repositories; 0: never
DELIVERY_RETENTION_DAYS: int = env.days("DELIVERY_RETENTION_DAYS", default=30)

# On Postgres: have what is old wait for the end of its month, to be dropped with it, instead of deleting it by rows.
PURGE_WHOLE_MONTHS: bool = env.bool("PURGE_WHOLE_MONTHS", default=False)

# --- Callbacks -------------------------------------------------------------------------------------------
# What may be called although it is not on the public internet, or without TLS: host, host:port, or a network.
CALLBACK_ALLOWED_HOSTS: list[str] = env.list("CALLBACK_ALLOWED_HOSTS", default=[])
CALLBACK_TIMEOUT_SECONDS: float = env.float("CALLBACK_TIMEOUT_SECONDS", default=15.0)  # per try, from start to end

# --- Alarms: operators are told what needs attention ------------------------------------------------------
ALARM_MAIL: list[str] = env.list("ALARM_MAIL", default=[])  # addresses
ALARM_URL: str = env.str("ALARM_URL", default="").strip()
ALARM_SECRETS: list[str] = env.list("ALARM_SECRET", default=[])  # several while it is changed, the newest first
ALARM_SECONDS: float = env.float("ALARM_SECONDS", default=60.0, least=1)  # between looks
# How long a trouble has to be away until it is over; twice as long each time it comes back within a day.
ALARM_CLEAR_SECONDS: float = env.float("ALARM_CLEAR_SECONDS", default=600.0, least=0)
ALARM_REMIND_HOURS: float = env.float("ALARM_REMIND_HOURS", default=24.0, least=0)  # of what lasts; 0: never
ALARM_BUDGET_PERCENT: int = env.int("ALARM_BUDGET_PERCENT", default=80, least=0)  # of an account's cap; 0: none
ALARM_FAILURES: int = env.int("ALARM_FAILURES", default=5, least=0)  # of a spell in a row; 0: any number
ALARM_FAILURE_PERCENT: int = env.int("ALARM_FAILURE_PERCENT", default=50, least=0)  # of a spell's casts in a day; 0

# --- Money -----------------------------------------------------------------------------------------------
# Blank: no billing. Accounts are limited by their caps alone, and nothing of `payments` runs.
STRIPE_SECRET_KEY: str = env.str("STRIPE_SECRET_KEY", default="").strip()
BILLING = bool(STRIPE_SECRET_KEY)
# Several while a secret is changed. An empty entry would let anyone sign: dropped.
STRIPE_WEBHOOK_SECRETS: list[str] = env.list("STRIPE_WEBHOOK_SECRET", default=[])
STRIPE_API_URL: str = env.str("STRIPE_API_URL", default="https://api.stripe.com").strip().rstrip("/")
# Between two readings of Stripe's list of events for what no webhook brought; 0: never.
STRIPE_SWEEP_SECONDS: float = env.float("STRIPE_SWEEP_SECONDS", default=300.0)
# One for the installation, in which the ledger counts: "cents" are its smallest unit.
BILLING_CURRENCY: str = env.str("BILLING_CURRENCY", default="usd").strip().lower()
# Besides PUBLIC_URL: origins that a page of Stripe's may lead back to, as https://shop.example.com.
BILLING_RETURN_ORIGINS: list[str] = env.list("BILLING_RETURN_ORIGINS", default=[])
if BILLING:
    WORK += [  # these share a part of the threads (payments.client.LANE): who waits most comes first
        "payments.topup_work.TopUpWork",
        "payments.refunds.RefundWork",
        "payments.inbox.StripeEventWork",
        "payments.sweep.SweepWork",
        "payments.metering.ReportWork",
        "payments.subscriptions.SubscriptionWork",
    ]
    SWEEPS += [
        "payments.books.ensure",
        "payments.sweep.ensure",
        "payments.autotopup.sweep",
        "payments.subscriptions.ensure",
    ]
    PURGES += ["payments.inbox.purge"]
    RESTORED += ["payments.restored.doubt_reports"]
    CREDIT_LOW += ["payments.autotopup.credit_low"]
    CREDIT_REFUSED += ["payments.autotopup.cast_refused"]
    METRICS += ["payments.metrics.billing"]
    ATTENTION += [f"payments.attention.{name}" for name in ("topups", "disputes", "reports", "events")]

# --- Logging in ------------------------------------------------------------------------------------------
REQUIRE_SECOND_FACTOR: str = env.str("REQUIRE_SECOND_FACTOR", default="off", among=("off", "staff", "all"))
# How long a password or second factor that was shown is enough for what needs one: keys, caps, permissions.
REAUTHENTICATE_SECONDS: float = env.float("REAUTHENTICATE_SECONDS", default=900.0)
SESSION_IDLE_SECONDS: float = env.float("SESSION_IDLE_SECONDS", default=8 * 3600.0, least=60)
SESSION_MAX_SECONDS: float = env.float("SESSION_MAX_SECONDS", default=14 * 24 * 3600.0, least=60)  # from the login
MAIL = mail_config(env.str("EMAIL_URL", default="console:"))
DEFAULT_FROM_EMAIL: str = env.str("EMAIL_FROM", default=f"Spell Platform <no-reply@{host_of(PUBLIC_URL)}>")
EMAIL_BACKEND, EMAIL_HOST, EMAIL_PORT = MAIL.backend, MAIL.host, MAIL.port
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = MAIL.user, MAIL.password
EMAIL_USE_TLS, EMAIL_USE_SSL = MAIL.starttls, MAIL.tls
EMAIL_TIMEOUT = 20  # seconds

# --- Processes -------------------------------------------------------------------------------------------
WEB_THREADS: int = env.int("WEB_THREADS", default=4, least=1)  # per web process, for blocking work
# Of these, at most so many for one account, or for one address without a known key; and how many of its requests wait.
WEB_STATEMENT_SECONDS: float = env.float("WEB_STATEMENT_SECONDS", default=10.0)  # on Postgres; 0: as long as it takes
WEB_THREADS_EACH: int = env.int("WEB_THREADS_EACH", default=max(1, WEB_THREADS - 1), least=1)
WEB_QUEUE_EACH: int = env.int("WEB_QUEUE_EACH", default=200, least=1)
PAGE_THREADS: int = env.int("PAGE_THREADS", default=2, least=1)  # per web process, for pages: admin, login, progress
PAGE_THREADS_EACH = max(1, PAGE_THREADS - 1)  # for one address
PAGE_QUEUE_EACH: int = env.int("PAGE_QUEUE_EACH", default=100, least=1)
# Requests that wait for Stripe at a time, beside these threads; half of them of one account, or address.
OUTSIDE_THREADS: int = env.int("OUTSIDE_THREADS", default=4, least=1) if BILLING else 0
# Streams and waiting requests that may be open in one web process; an account's by links count by themselves.
STREAMS_PER_KEY: int = env.int("STREAMS_PER_KEY", default=1_000, least=1)
STREAMS_PER_ACCOUNT: int = env.int("STREAMS_PER_ACCOUNT", default=1_000, least=1)
STREAMS_PER_LINK: int = env.int("STREAMS_PER_LINK", default=100, least=1)  # with any of the links to one cast
STREAMS_PER_ADDRESS: int = env.int("STREAMS_PER_ADDRESS", default=200, least=1)  # by links and sessions
WORKER_THREADS: int = env.int("WORKER_THREADS", default=8, least=1)
# Where a worker answers /metrics, /livez and /readyz. Blank: nowhere.
WORKER_BIND: str = bind_address(env.str("WORKER_BIND", default=""), "WORKER_BIND")
WORKER_LEASE_SECONDS: float = env.float("WORKER_LEASE_SECONDS", default=30.0)
STREAM_HEARTBEAT_SECONDS: float = env.float("STREAM_HEARTBEAT_SECONDS", default=20.0)
STREAM_FALLBACK_SECONDS: float = env.float("STREAM_FALLBACK_SECONDS", default=5.0)  # if a wake-up was missed
# Between two looks whether all who have a stream open, or wait, may still read.
STREAM_ACCESS_SECONDS: float = env.float("STREAM_ACCESS_SECONDS", default=3.0, least=0.1)
STREAM_MAX_SECONDS: float = env.float("STREAM_MAX_SECONDS", default=900.0, least=1)  # then a stream has to reconnect

# --- Django ----------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "spellplatform.apps.ConsoleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "spellplatform",
    "core",
    "accounts",
    "casts",
    "payments",
    "github_integration",
    "webhooks",
]
MIDDLEWARE = [
    "spellplatform.middleware.PagesMiddleware",
    "spellplatform.middleware.StaticFilesMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "accounts.pages.middleware.GuardMiddleware",
]
# The API: no cookies, and nothing that would need a thread of its own (spellplatform.asgi). Event streams pass no
# middleware; casts.live.asgi does what these two do.
API_MIDDLEWARE = [
    "spellplatform.middleware.RequestIdMiddleware",
    "spellplatform.middleware.ApiHeadersMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "accounts.pages.context.ways",
                "payments.pages.context.billing",
            ]
        },
    }
]
ROOT_URLCONF = "spellplatform.urls"
ASGI_APPLICATION = "spellplatform.asgi.application"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
AUTHENTICATION_BACKENDS = ["accounts.pages.backend.PasswordBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "accounts.passwords.EasyPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
LOGIN_URL, LOGIN_REDIRECT_URL, LOGOUT_REDIRECT_URL = "account_login", "start", "account_login"
PASSWORD_RESET_TIMEOUT = 3600  # seconds that a link in a mail opens
SESSION_ENGINE = "accounts.sessions"
SESSION_COOKIE_AGE = int(SESSION_MAX_SECONDS)  # of the cookie alone: the session ends by itself
# Of allauth we use logging in by steps, confirming, and second factors. Its own rationing is off: it counts in a
# cache, and each process has its own; see accounts.attempts.
ACCOUNT_ADAPTER = "accounts.pages.adapters.AccountAdapter"
ACCOUNT_FORMS = {"login": "accounts.pages.forms.LoginForm", "reauthenticate": "accounts.pages.forms.ConfirmForm"}
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]  # nobody signs up; with these the login has a password
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_SESSION_REMEMBER = False
ACCOUNT_RATE_LIMITS = MFA_RATE_LIMITS = False
MFA_ADAPTER = "accounts.pages.adapters.FactorAdapter"
MFA_FORMS = {
    "authenticate": "accounts.pages.forms.CodeForm",
    "reauthenticate": "accounts.pages.forms.ConfirmCodeForm",
    "activate_totp": "accounts.pages.forms.FirstCodeForm",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_TOTP_ISSUER = "Spell Platform"
MFA_TOTP_TOLERANCE = 1  # periods of 30 seconds that a phone's clock may be wrong
APPEND_SLASH = False  # an API path is right or it is a 404; a redirect would lose the body
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
WHITENOISE_USE_FINDERS = not STATIC_ROOT.exists()  # a fresh clone serves its pages without collectstatic
STORAGES = {
    "default": storage_of(
        env.str("STORAGE_URL", default="").strip(),
        ARTIFACT_ROOT,
        umask=UMASK,
        key=env.str("AWS_ACCESS_KEY_ID", default="").strip(),
        secret=env.str("AWS_SECRET_ACCESS_KEY", default="").strip(),
        token=env.str("AWS_SESSION_TOKEN", default="").strip(),
    ),
    # No secrets: a proxy may serve them.
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage",
        "OPTIONS": {"file_permissions_mode": 0o644, "directory_permissions_mode": 0o755},
    },
}
# GitHub's own cap on webhook bodies (docs: webhook events and payloads); other bodies are capped by their views.
DATA_UPLOAD_MAX_MEMORY_SIZE = 25 * 1024 * 1024

SECURE = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
# With this prefix browsers take a cookie from this very host alone, and only by TLS.
SESSION_COOKIE_NAME = "__Host-sessionid" if SECURE else "sessionid"
CSRF_COOKIE_NAME = "__Host-csrftoken" if SECURE else "csrftoken"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True  # forms carry the CSRF token; no script reads the cookie
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"  # Strict: who follows a link to a page would be logged out
CSRF_FAILURE_VIEW = "spellplatform.errors.forged"
# Django's default is a cookie of its own, whose name has no prefix.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
# What Django's middleware for them would set is in core.api.headers, once for pages, the API and streams.
SILENCED_SYSTEM_CHECKS = ["security.W001", "security.W002"]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "style-src": ["'self'"],
        "object-src": ["'none'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.api.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.api.authentication.HasScope"],
    "DEFAULT_PARSER_CLASSES": ["core.api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "core.api.problems.render",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Spell Platform",
    "DESCRIPTION": "Hand out work as an API: typed, metered, capped, exactly once, live.",
    "VERSION": __version__,
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "casts.api.openapi.add_live_paths",
        "casts.api.openapi.describe_every_answer",
    ],
    "ENUM_NAME_OVERRIDES": {
        "CallbackStateEnum": "casts.models.Callback.State",
        "CallbackTypeEnum": "casts.models.CallbackType",
        "EndpointTypeEnum": "casts.callbacks.serializers.NAMED",
        "PriceKindEnum": "casts.models.PriceKind",
        "TopUpStateEnum": "payments.models.TopUp.State",
    },
}

LOGGING_CONFIG = "spellplatform.logging.configure"
LOGGING = {"level": LOG_LEVEL, "format": LOG_FORMAT}
