"""Spells that live in the repository whose workflows they cast: read at a commit, applied, and reported on it."""
