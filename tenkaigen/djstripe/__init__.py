"""What of dj-stripe is our own: its migrations in one step (docs/decisions/0008)."""
