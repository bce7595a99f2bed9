"""Who is a member of an account: roles, leaving, and invitations by mail."""
