"""Checks the configuration against GitHub and says how to fix what is wrong: `manage.py doctor`.

Each check is a function that takes a GitHub client and yields findings. None of them changes anything, but for
`hook.ping`, which has GitHub send a webhook again, and `workflows.check` with `keep`, which keeps what a file declares.
"""
