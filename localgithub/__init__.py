"""GitHub on your own machine: the part of its API that the platform uses, running real workflow files.

Shares no code with the rest of the project; the two meet over HTTP only.
"""
