"""Django's backend for SQLite, waiting for locks in Python (ENGINE "spellplatform.sqlite")."""
