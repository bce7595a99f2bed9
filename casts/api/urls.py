from django.urls import path

from accounts.api import audit, keys, usage
from casts import paths  # noqa: F401 - registers the converters
from casts.api import budget, bundle, casts, downloads, openapi, previews, reference_page, results, spells
from casts.callbacks import views as callback_views
from casts.live import waiting
from core.db.threads import offloaded

app_name = "api"
urlpatterns = [
    path("cast", waiting.waitable(casts.CreateCast.as_view()), name="cast-create"),
    path("casts", waiting.waitable(casts.Casts.as_view()), name="casts"),
    path("casts/<cast_id:cast_id>", waiting.waitable(casts.OneCast.as_view()), name="cast"),
    path("casts/<cast_id:cast_id>/cancel", offloaded(casts.CancelCast.as_view()), name="cast-cancel"),
    path("casts/<cast_id:cast_id>/links", offloaded(casts.CastLinks.as_view()), name="cast-links"),
    path("casts/<cast_id:cast_id>/retry", waiting.waitable(casts.RetryCast.as_view()), name="cast-retry"),
    path("casts/<cast_id:cast_id>/events", waiting.events, name="cast-events"),
    path("casts/<cast_id:cast_id>/artifacts/<text:name>", downloads.artifact, name="cast-artifact"),
    path("casts/<cast_id:cast_id>/artifacts/<text:name>/preview", previews.artifact_preview, name="cast-preview"),
    path("casts/<cast_id:cast_id>/artifacts.zip", bundle.artifacts_zip, name="cast-artifacts-zip"),
    path("casts/<cast_id:cast_id>/output.json", results.output_json, name="cast-output"),
    path("casts/<cast_id:cast_id>/output.csv", results.output_csv, name="cast-output-csv"),
    path("casts/<cast_id:cast_id>/summary.md", results.summary_md, name="cast-summary"),
    path("spells", offloaded(spells.Spells.as_view()), name="spells"),
    path("spells/<text:spell_key>", offloaded(spells.OneSpell.as_view()), name="spell"),
    path("budget", offloaded(budget.Budget.as_view()), name="budget"),
    path("audit", offloaded(audit.Audit.as_view()), name="audit"),
    path("usage", offloaded(usage.Usage.as_view()), name="usage"),
    path("keys", offloaded(keys.Keys.as_view()), name="keys"),
    path("keys/<int:key_id>", offloaded(keys.OneKey.as_view()), name="key"),
    path("keys/<int:key_id>/rotate", offloaded(keys.Rotation.as_view()), name="key-rotate"),
    path("callbacks", offloaded(callback_views.Callbacks.as_view()), name="callbacks"),
    path("callbacks/secret", offloaded(callback_views.AccountSecret.as_view()), name="callback-secret"),
    path(
        "callbacks/secret/rotate",
        offloaded(callback_views.RotateAccountSecret.as_view()),
        name="callback-secret-rotate",
    ),
    path("callbacks/endpoints", offloaded(callback_views.Endpoints.as_view()), name="callback-endpoints"),
    path(
        "callbacks/endpoints/<str:endpoint_id>",
        offloaded(callback_views.OneEndpoint.as_view()),
        name="callback-endpoint",
    ),
    path(
        "callbacks/endpoints/<str:endpoint_id>/secret",
        offloaded(callback_views.EndpointSecret.as_view()),
        name="callback-endpoint-secret",
    ),
    path(
        "callbacks/endpoints/<str:endpoint_id>/rotate",
        offloaded(callback_views.RotateEndpointSecret.as_view()),
        name="callback-endpoint-rotate",
    ),
    path(
        "callbacks/endpoints/<str:endpoint_id>/test",
        offloaded(callback_views.TestEndpoint.as_view()),
        name="callback-endpoint-test",
    ),
    path("callbacks/<str:callback_id>", offloaded(callback_views.OneCallback.as_view()), name="callback"),
    path(
        "callbacks/<str:callback_id>/replay",
        offloaded(callback_views.ReplayCallback.as_view()),
        name="callback-replay",
    ),
    path("schema", openapi.schema, name="schema"),
    path("docs", offloaded(reference_page.docs), name="docs"),
]
