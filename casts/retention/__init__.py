"""How long things are kept, and deleting what was kept for so long; see docs/reference/retention.md."""
