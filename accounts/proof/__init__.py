"""Proving again and again that the counters of money are what the ledger says."""
