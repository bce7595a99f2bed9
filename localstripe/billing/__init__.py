"""Usage, what it costs, and what is sent where. `routes` imports all that answers requests."""
