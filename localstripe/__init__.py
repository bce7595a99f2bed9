"""Stripe's API on your own machine: test cards, idempotency, signed webhooks, faults on request.

It shares no code with the rest of the project; they meet over HTTP only.
"""
