"""How the service is watched: metrics and health, whichever process is asked."""
