"""Rationing by API key and account, and of failed logins; the counts in the database."""
