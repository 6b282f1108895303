"""Entries are inserted, never changed or deleted: the database refuses, whoever asks.

TRUNCATE has a trigger of its own, see 0011.
"""

from django.db import migrations

FORWARD = """
CREATE FUNCTION credits_refuse_entry_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'entries are append-only' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER entries_are_append_only BEFORE UPDATE OR DELETE ON credits_entry
    FOR EACH ROW EXECUTE FUNCTION credits_refuse_entry_change();
ALTER TABLE credits_wallet SET (fillfactor = 50);
ALTER TABLE credits_grant SET (fillfactor = 50);
"""
BACKWARD = """
DROP TRIGGER entries_are_append_only ON credits_entry;
DROP FUNCTION credits_refuse_entry_change();
ALTER TABLE credits_wallet RESET (fillfactor);
ALTER TABLE credits_grant RESET (fillfactor);
"""


class Migration(migrations.Migration):
    dependencies = [("credits", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
