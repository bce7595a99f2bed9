import pytest
import stripe

from tests.stripes import Stripe


@pytest.fixture
def client(stripe_server: Stripe) -> stripe.StripeClient:
    found: stripe.StripeClient = stripe_server.client()
    return found


@pytest.fixture
def customer(client: stripe.StripeClient) -> str:
    return client.v1.customers.create({"email": "test@example.com"}).id
