"""The pages on which members see where an account's money went, and look after its budget and keys."""
