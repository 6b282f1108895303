from django.db import migrations

SQL = """
CREATE FUNCTION credits_refuse_price_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE touched bigint[] := '{}';
BEGIN
    IF TG_TABLE_NAME = 'credits_priceversion' THEN
        touched := ARRAY[OLD.id];
    ELSE  -- a rule that moves touches the version it leaves and the one it joins
        IF TG_OP <> 'INSERT' THEN touched := touched || (to_jsonb(OLD) ->> 'version_id')::bigint; END IF;
        IF TG_OP <> 'DELETE' THEN touched := touched || (to_jsonb(NEW) ->> 'version_id')::bigint; END IF;
    END IF;
    IF EXISTS (SELECT FROM credits_priceversion WHERE id = ANY (touched) AND effective_at <= now()) THEN
        RAISE EXCEPTION 'prices in force never change: publish a new version';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER price_rule_in_force_never_changes BEFORE INSERT OR UPDATE OR DELETE ON credits_pricerule
    FOR EACH ROW EXECUTE FUNCTION credits_refuse_price_change();
CREATE TRIGGER price_version_in_force_never_changes BEFORE UPDATE OR DELETE ON credits_priceversion
    FOR EACH ROW EXECUTE FUNCTION credits_refuse_price_change();
"""
UNDO = """
DROP TRIGGER price_rule_in_force_never_changes ON credits_pricerule;
DROP TRIGGER price_version_in_force_never_changes ON credits_priceversion;
DROP FUNCTION credits_refuse_price_change();
"""


class Migration(migrations.Migration):
    dependencies = [("credits", "0004_plans_passes_and_prices")]

    operations = [migrations.RunSQL(SQL, UNDO)]
