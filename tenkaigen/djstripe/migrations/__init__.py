"""dj-stripe's tables, made in one step instead of the 523 it ships. `tests/integration/test_djstripe_migrations.py`
holds the two graphs against each other; docs/decisions says what to do when dj-stripe brings a new migration.
"""
