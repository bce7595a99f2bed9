"""Secrets for tests that pass our own checks. Nobody's."""

SECRET_KEY = "tests-5Jx0vQm8rT2kW7cZ1bN4hL9pD6sF3gA-nobodys"
WEBHOOK_SECRET = "tests-Zq4Wm9Rk2Vx7Yp1Tn6-nobodys"
