"""The page on which a member looks after an account's money."""
