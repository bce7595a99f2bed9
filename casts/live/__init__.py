"""What a cast's followers get while it runs."""
