"""An account's callback endpoints and what was sent there, for its owners and admins.

What is checked and done is what the API's views do (callbacks.serializers, callbacks.acting). Roles that come here read
all of the account's casts and money, so nothing limits what they may have sent, as a key's scopes do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts import principals
from accounts.models import Membership, Role, valid_spell_keys
from accounts.pages.adapters import proved_lately
from accounts.pages.choice import membership_of
from accounts.pages.middleware import confirm_first
from casts.callbacks import acting
from casts.callbacks.serializers import NAMED, NewEndpoint
from casts.callbacks.views import OUR_ID
from casts.models import Callback, CallbackEndpoint, usual_types
from casts.pages.account.callbacks_shown import CallbacksPage, type_words
from core.errors import SpellError
from core.limits import ENDPOINT_CHARS, URL_CHARS


class EndpointForm(forms.Form):
    """What an account says of an endpoint; as the API checks it."""

    url = forms.CharField(
        label="Address",
        max_length=URL_CHARS,
        widget=forms.URLInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text="https://, on the public internet.",
    )
    description = forms.CharField(label="What it is for", max_length=ENDPOINT_CHARS, required=False)
    types = forms.MultipleChoiceField(
        label="What it is told of",
        choices=[(word, type_words(word)) for word, _ in NAMED],
        initial=usual_types,
        widget=forms.CheckboxSelectMultiple,
    )
    contents = forms.BooleanField(
        label="Send all of a cast, with its result", required=False, initial=True, help_text="Else its id and status."
    )
    spell_keys = forms.CharField(
        label="Only casts of these spells",
        required=False,
        help_text="Their keys, separated by blanks or commas. Blank: all spells, also later ones.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def clean_spell_keys(self) -> list[str] | None:
        keys = str(self.cleaned_data["spell_keys"]).replace(",", " ").split() or None
        if keys is not None:
            valid_spell_keys(keys)
        return keys

    def clean(self) -> dict[str, Any]:
        """Hold what the API also takes against the API's own checks."""
        found: dict[str, Any] = super().clean() or {}
        names = ("url", "description", "types")
        body = NewEndpoint(data={name: found[name] for name in names if name in found})
        if not body.is_valid():
            for name in names:
                if name in body.errors and name not in self.errors:
                    self.add_error(name, ValidationError([str(one) for one in texts(body.errors[name])]))
        return found


def texts(errors: Any) -> list[Any]:
    """Return what DRF says of a field, which of a list may be a list for each item."""
    if isinstance(errors, dict):
        return [text for inner in errors.values() for text in texts(inner)]
    return [text for one in errors for text in (texts(one) if isinstance(one, list | dict) else [one])]


def guarded(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Let owners and admins in; who is refused by what lies below is told so on the page that he came from."""

    def run(request: HttpRequest, account_id: int, **kwargs: Any) -> HttpResponseBase:
        own = membership_of(request, account_id, at_least=Role.ADMIN)
        try:
            return view(request, own, **kwargs)
        except SpellError as exc:
            messages.error(request, str(exc))
            return redirect(request.get_full_path())

    return require_http_methods(["GET", "HEAD", "POST"])(login_required(run))


@guarded
def callbacks(request: HttpRequest, own: Membership) -> HttpResponseBase:
    """List endpoints and what was sent last; add one, and send a message again."""
    if request.method != "POST":
        return shown(request, own, form=EndpointForm())
    if request.POST.get("act") == "again":
        return send_again(request, own, None)
    if request.POST.get("act") != "add":
        return redirect("account-callbacks", account_id=own.account_id)
    if not proved_lately(request):
        return confirm_first(request, lay_aside=True)
    form = EndpointForm(request.POST)
    if not form.is_valid():
        return shown(request, own, form=form)
    endpoint = acting.add(principals.of_member(own), own.account, **form.cleaned_data)
    return show_secret(request, own, endpoint, endpoint.secrets)


def shown(request: HttpRequest, own: Membership, *, form: EndpointForm) -> HttpResponseBase:
    context = {"page": CallbacksPage(own.account_id, before=before_of(request)), "own": own, "form": form}
    return render(request, "account/callbacks.html", context)


def show_secret(
    request: HttpRequest, own: Membership, endpoint: CallbackEndpoint, secrets: list[str]
) -> HttpResponseBase:
    """Show what an endpoint's messages are signed with. No redirect, over which it would be kept in a cookie or row."""
    context = {"own": own, "endpoint": endpoint, "secret": secrets[0], "old": secrets[1:]}
    return render(request, "account/callback_secret.html", context)


def before_of(request: HttpRequest) -> str:
    asked = request.GET.get("before", "")
    return asked if OUR_ID.fullmatch(asked) else ""


def send_again(request: HttpRequest, own: Membership, endpoint: CallbackEndpoint | None) -> HttpResponseBase:
    """Send a message of the account again, or of one of its endpoints."""
    message = request.POST.get("message", "")
    sent = Callback.objects.filter(account=own.account_id).select_related("endpoint")
    if endpoint is not None:
        sent = sent.filter(endpoint=endpoint)
    found = sent.filter(pk=message).first() if OUR_ID.fullmatch(message) else None
    if found is None:
        raise Http404
    acting.send_again(principals.of_member(own), found)
    messages.success(request, "It is being sent again, with the webhook-id that it had.")
    return redirect(f"{request.path}?sent={found.pk}#log")


# --- One endpoint ----------------------------------------------------------------------------------------------------


@guarded
def endpoint(request: HttpRequest, own: Membership, endpoint_id: str) -> HttpResponseBase:
    """Show an endpoint and what was sent there; change, pause, test, delete it, or rotate its secret."""
    rows = CallbackEndpoint.objects.filter(account=own.account_id, deleted_at=None)
    found = rows.filter(pk=endpoint_id).first() if OUR_ID.fullmatch(endpoint_id) else None
    if found is None:
        raise Http404
    if request.method != "POST":
        return one(request, own, found, form=EndpointForm(initial=initial_of(found)))
    word = request.POST.get("act", "")
    if word not in ACTS:
        return redirect(request.path)
    if word not in HARMLESS and not proved_lately(request):
        return confirm_first(request, lay_aside=True)
    return ACTS[word](request, own, found)


def initial_of(endpoint: CallbackEndpoint) -> dict[str, Any]:
    fields = {name: getattr(endpoint, name) for name in ("url", "description", "types", "contents")}
    return fields | {"spell_keys": " ".join(endpoint.spell_keys or ())}


def one(request: HttpRequest, own: Membership, endpoint: CallbackEndpoint, *, form: EndpointForm) -> HttpResponseBase:
    page = CallbacksPage(own.account_id, endpoint=endpoint, before=before_of(request), sent=request.GET.get("sent", ""))
    return render(request, "account/callback_endpoint.html", {"page": page, "own": own, "one": endpoint, "form": form})


def change(request: HttpRequest, own: Membership, endpoint: CallbackEndpoint) -> HttpResponseBase:
    form = EndpointForm(request.POST)
    if not form.is_valid():
        return one(request, own, endpoint, form=form)
    changes = {name: value for name, value in form.cleaned_data.items() if value != getattr(endpoint, name)}
    if changes:
        acting.change(principals.of_member(own), endpoint, **changes)
    messages.success(request, "Changed. What is still to be sent goes by this." if changes else "Nothing was changed.")
    return redirect(request.path)


def pause(request: HttpRequest, own: Membership, endpoint: CallbackEndpoint) -> HttpResponseBase:
    acting.change(principals.of_member(own), endpoint, active=False)
    messages.success(request, "Paused: nothing is sent there, and what was waiting is closed. It can be sent again.")
    return redirect(request.path)


def resume(request: HttpRequest, own: Membership, endpoint: CallbackEndpoint) -> HttpResponseBase:
    acting.change(principals.of_member(own), endpoint, active=True)
    messages.success(request, "It is sent to again, from now on.")
    return redirect(request.path)


def test(request: HttpRequest, own: Membership, endpoint: CallbackEndpoint) -> HttpResponseBase:
    sent = acting.test(principals.of_member(own), endpoint)
    messages.info(request, "A test event is on its way. What comes of it is shown below.")
    return redirect(f"{request.path}?sent={sent.pk}#log")


def rotate(request: HttpRequest, own: Membership, endpoint: CallbackEndpoint) -> HttpResponseBase:
    return show_secret(request, own, endpoint, acting.rotate(principals.of_member(own), endpoint, drop_old=False))


def drop_old(request: HttpRequest, own: Membership, endpoint: CallbackEndpoint) -> HttpResponseBase:
    acting.rotate(principals.of_member(own), endpoint, drop_old=True)
    messages.success(request, "Messages are signed with the newest secret alone.")
    return redirect(request.path)


def delete(request: HttpRequest, own: Membership, endpoint: CallbackEndpoint) -> HttpResponseBase:
    acting.delete(principals.of_member(own), endpoint)
    messages.success(request, f"{endpoint.url} is deleted. The log of what was sent there stays.")
    return redirect("account-callbacks", account_id=own.account_id)


Act = Callable[[HttpRequest, Membership, CallbackEndpoint], HttpResponseBase]
ACTS: dict[str, Act] = {
    **{"change": change, "pause": pause, "resume": resume, "test": test},
    **{"rotate": rotate, "drop_old": drop_old, "delete": delete, "again": send_again},
}
HARMLESS = ("test", "again")  # what is sent goes where others have said before
