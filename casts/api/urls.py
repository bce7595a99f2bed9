from django.urls import path
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerSplitView

from casts.api import live, views
from casts.offload import offloaded

app_name = "api"
casts = live.waitable(views.Casts.as_view())

urlpatterns = [
    path("cast", casts, name="cast-create"),
    path("casts", casts, name="casts"),
    path("casts/<str:cast_id>", live.waitable(views.OneCast.as_view()), name="cast"),
    path("casts/<str:cast_id>/events", live.events, name="cast-events"),
    path("casts/<str:cast_id>/artifacts/<str:name>", live.artifact, name="cast-artifact"),
    path("spells", offloaded(views.Spells.as_view()), name="spells"),
    path("spells/<str:spell_key>", offloaded(views.OneSpell.as_view()), name="spell"),
    path("budget", offloaded(views.Budget.as_view()), name="budget"),
    path("keys", offloaded(views.Keys.as_view()), name="keys"),
    path("keys/<int:key_id>", offloaded(views.OneKey.as_view()), name="key"),
    path("schema", offloaded(SpectacularJSONAPIView.as_view()), name="schema"),
    path("docs", offloaded(SpectacularSwaggerSplitView.as_view(url_name="api:schema")), name="docs"),
]
