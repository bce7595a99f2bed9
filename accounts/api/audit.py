"""The audit log over the API."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.authentication import ApiRequest
from accounts.audit.models import AuditEntry
from core.api.filters import Filter, filtered, parameters_of, query_time
from core.api.pagination import NewestFirst


class AuditOut(serializers.ModelSerializer[AuditEntry]):
    """One change that somebody asked for."""

    # What was changed, as far as it is told: any JSON object.
    before = serializers.DictField(allow_null=True)
    after = serializers.DictField(allow_null=True)
    address = serializers.CharField(allow_null=True)

    class Meta:
        model = AuditEntry
        fields = (
            *("id", "at", "actor_kind", "actor_id", "actor", "action", "object_kind", "object_id"),
            *("before", "after", "address", "request_id"),
        )


class AuditPage(serializers.Serializer[Any]):
    """Entries of the audit log, newest first."""

    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)
    results = AuditOut(many=True)


FILTERS = [
    Filter(OpenApiParameter("action", str), lambda name, value: Q(action=value)),
    Filter(OpenApiParameter("actor", str), lambda name, value: Q(actor=value)),
    Filter(OpenApiParameter("object_kind", str), lambda name, value: Q(object_kind=value)),
    Filter(OpenApiParameter("object_id", str), lambda name, value: Q(object_id=value)),
    Filter(
        OpenApiParameter("after", str, description="RFC 3339"),
        lambda name, value: Q(at__gte=query_time(name, value)),
    ),
    Filter(
        OpenApiParameter("before", str, description="RFC 3339"),
        lambda name, value: Q(at__lt=query_time(name, value)),
    ),
]


class Audit(APIView):
    scopes = {"GET": "audit"}

    @extend_schema(operation_id="list_audit", parameters=parameters_of(FILTERS), responses={200: AuditPage})
    def get(self, request: ApiRequest) -> Response:
        """Who changed what in the account, newest first: keys, caps, endpoints, casts, members."""
        entries = filtered(AuditEntry.objects.filter(account_id=request.auth.account_id), request, FILTERS, text=True)
        pages = NewestFirst()
        page: list[AuditEntry] = pages.paginate_queryset(entries, request, view=self) or []
        return pages.get_paginated_response(AuditOut(page, many=True).data)
