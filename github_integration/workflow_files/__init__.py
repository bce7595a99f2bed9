"""Workflow files, as they are in a repository: what they say, and the spells that can be made of them. No network."""
