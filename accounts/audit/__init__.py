"""Who did what: an entry for every change that somebody asks for, in the transaction of the change."""
