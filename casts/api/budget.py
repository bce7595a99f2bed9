"""The month's money, and its caps."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import budget, credit, open_casts
from accounts.api.authentication import ApiRequest
from accounts.models import ApiKey
from casts import caps
from core.api.fields import StrictCharField, StrictIntegerField, StrictSerializer
from core.errors import Forbidden


class NewCap(StrictSerializer):
    """A change of a cap."""

    cap_cents = StrictIntegerField(
        min_value=0, max_value=caps.MOST_CENTS, allow_null=True, help_text="null: no cap; 0: nothing."
    )
    scope = serializers.ChoiceField(choices=["account", "key", "spell"], default="account")
    key_id = StrictIntegerField(required=False, help_text="With scope key.")
    spell_key = StrictCharField(max_length=64, required=False, help_text="With scope spell.")

    @property
    def partial(self) -> bool:
        """False: one cap is replaced as a whole, though by PATCH, for which drf-spectacular would say otherwise."""
        return False

    @partial.setter
    def partial(self, value: bool) -> None:
        """Leave it so."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        needed = {"key": "key_id", "spell": "spell_key"}.get(attrs["scope"])
        for name in ("key_id", "spell_key"):
            if (name in attrs) != (name == needed):
                wrong = f"Scope {attrs['scope']} " + ("needs it." if name == needed else "does not take it.")
                raise serializers.ValidationError({name: [wrong]})
        return attrs


class PeriodOut(serializers.Serializer[Any]):
    """One month's money, in cents."""

    month = serializers.DateField()
    cap_cents = serializers.IntegerField(allow_null=True)
    held_cents = serializers.IntegerField()
    captured_cents = serializers.IntegerField()
    remaining_cents = serializers.IntegerField(allow_null=True)
    resets_at = serializers.DateTimeField()


class InnerPeriodOut(PeriodOut):
    """A cap within the account."""

    scope = serializers.CharField()
    ref = serializers.CharField()


class CreditOut(serializers.Serializer[Any]):
    """What a billed account has paid for or was given, of all months together, in cents."""

    cap_cents = serializers.IntegerField(help_text="All that was booked: paid and granted, less what was taken back.")
    held_cents = serializers.IntegerField()
    captured_cents = serializers.IntegerField()
    remaining_cents = serializers.IntegerField(help_text="Below zero if money that was spent was taken back.")
    low_cents = serializers.IntegerField(allow_null=True, help_text="Below how many cents `credit.low` is told.")


class BudgetOut(PeriodOut):
    """This month's money of the account, the caps within it, and how many of its casts are open."""

    caps = InnerPeriodOut(many=True)
    credit = CreditOut(allow_null=True, help_text="null: the account is not billed, and limited by its caps alone.")
    open_casts = serializers.IntegerField(help_text="Casts that have not ended.")
    max_open = serializers.IntegerField(help_text="How many may be open; one more is answered with 429.")


class Budget(APIView):
    scopes = {"GET": "budget:read", "PATCH": "budget:write"}

    @extend_schema(operation_id="get_budget", responses={200: BudgetOut})
    def get(self, request: ApiRequest) -> Response:
        """This month's caps, what is held and what was spent."""
        return Response(budget_out(request.auth))

    @extend_schema(operation_id="set_cap", request=NewCap, responses={200: BudgetOut})
    def patch(self, request: ApiRequest) -> Response:
        """Change a cap: the account's, or within it one API key's or one spell's. null lifts it, 0 stops everything."""
        body = NewCap(data=request.data)
        body.is_valid(raise_exception=True)
        account = request.auth.account
        wanted = body.validated_data
        if request.auth.spell_keys is not None and wanted.get("spell_key") not in request.auth.spell_keys:
            ours = ", ".join(request.auth.spell_keys)
            raise Forbidden(f"This API key is for {ours}, and may change the caps of these spells alone.")
        ref = str(wanted.get("key_id") or wanted.get("spell_key") or "")
        caps.change(request.user, account, wanted["scope"], ref, cents=wanted["cap_cents"])
        return Response(budget_out(request.auth))


def budget_out(key: ApiKey) -> dict[str, Any]:
    period = budget.current(key.account)
    has = credit.state(key.account)
    inner = list(key.account.budget_periods.filter(month=period.month).exclude(scope__in=["account", "credit"]))
    if key.spell_keys is not None:
        shown = {("key", str(key.pk)), *(("spell", spell_key) for spell_key in key.spell_keys)}
        inner = [cap for cap in inner if (cap.scope, cap.ref) in shown]
    inner.sort(key=lambda cap: (cap.scope, cap.ref))  # see events.snapshot
    return {
        **PeriodOut(period).data,
        "caps": InnerPeriodOut(inner, many=True).data,
        "credit": None if has is None else CreditOut(has).data,
        "open_casts": open_casts.of(key.account),
        "max_open": open_casts.most(key.account),
    }
