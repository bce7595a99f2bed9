"""Peers, as small as they can be: what our figures are read beside."""
