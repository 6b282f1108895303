"""TRUNCATE fires no trigger of a row, so that the one which keeps entries from being deleted would not see it.

Nor does it help to take the right away: the role of the application often owns its tables, or is a superuser. Whoever
sets `tenkaigen.may_truncate`, as the tests do to empty their tables, has said that these are no books.
"""

from django.db import migrations

FORWARD = """
CREATE FUNCTION credits_refuse_entry_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(current_setting('tenkaigen.may_truncate', true), '') <> 'on' THEN
        RAISE EXCEPTION 'entries are append-only' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER entries_are_not_truncated BEFORE TRUNCATE ON credits_entry
    FOR EACH STATEMENT EXECUTE FUNCTION credits_refuse_entry_truncate();
"""
BACKWARD = """
DROP TRIGGER entries_are_not_truncated ON credits_entry;
DROP FUNCTION credits_refuse_entry_truncate();
"""


class Migration(migrations.Migration):
    dependencies = [("credits", "0010_mails_of_notices_survive_a_crash")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
