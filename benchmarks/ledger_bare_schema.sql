-- The tables of the rivals: the rows that a movement of credits writes, and nothing else.
-- :accounts of them, each with one grant that never runs dry.
DROP SCHEMA IF EXISTS bare CASCADE;
CREATE SCHEMA bare;
SET search_path = bare;
CREATE TABLE account (
    id bigint PRIMARY KEY,
    available bigint NOT NULL CHECK (available >= 0),
    held bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    seq bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE TABLE allowance (
    id bigint PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES account,
    priority smallint NOT NULL,
    expires_at timestamptz,
    granted bigint NOT NULL,
    available bigint NOT NULL CHECK (available >= 0),
    held bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    spent bigint NOT NULL DEFAULT 0 CHECK (spent >= 0),
    CHECK (granted = available + held + spent)
) WITH (fillfactor = 50);
CREATE INDEX allowance_burn ON allowance (account_id, priority, expires_at, id);
CREATE TABLE hold (
    id uuid PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES account,
    amount bigint NOT NULL CHECK (amount > 0),
    state smallint NOT NULL DEFAULT 0,
    key uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    UNIQUE (account_id, key)
) WITH (fillfactor = 70);
CREATE INDEX hold_due ON hold (expires_at) WHERE state = 0;
CREATE TABLE part (
    hold_id uuid NOT NULL REFERENCES hold,
    allowance_id bigint NOT NULL REFERENCES allowance,
    amount bigint NOT NULL CHECK (amount > 0),
    PRIMARY KEY (hold_id, allowance_id)
);
CREATE TABLE entry (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL,
    allowance_id bigint NOT NULL,
    hold_id uuid,
    src smallint NOT NULL,
    dst smallint NOT NULL CHECK (src <> dst),
    amount bigint NOT NULL CHECK (amount > 0),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX entry_of_account ON entry (account_id, id);
INSERT INTO account SELECT number, 1000000000000 FROM generate_series(1, :accounts) number;
INSERT INTO allowance
    SELECT number, number, 20, now() + interval '30 days', 1000000000000, 1000000000000
    FROM generate_series(1, :accounts) number;

-- The same movements as two functions: one round trip each. For `ledger_functions.sql`.
CREATE FUNCTION reserve(of_account bigint, wanted bigint, with_key uuid) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    made uuid := gen_random_uuid();
    missing bigint := wanted;
    taken bigint;
    source record;
BEGIN
    UPDATE account SET available = available - wanted, held = held + wanted, seq = seq + 1
        WHERE id = of_account AND available >= wanted;
    IF NOT FOUND THEN RETURN NULL; END IF;
    INSERT INTO hold VALUES (made, of_account, wanted, 0, with_key, now() + interval '15 minutes');
    FOR source IN
        SELECT id, available FROM allowance
        WHERE account_id = of_account AND available > 0 AND (expires_at IS NULL OR expires_at > now())
        ORDER BY priority, expires_at, id
    LOOP
        taken := least(missing, source.available);
        UPDATE allowance SET available = available - taken, held = held + taken WHERE id = source.id;
        INSERT INTO part VALUES (made, source.id, taken);
        INSERT INTO entry (account_id, allowance_id, hold_id, src, dst, amount)
            VALUES (of_account, source.id, made, 1, 2, taken);
        missing := missing - taken;
        EXIT WHEN missing = 0;
    END LOOP;
    IF missing > 0 THEN RAISE EXCEPTION 'short by %', missing; END IF;
    RETURN made;
END $$;
CREATE FUNCTION capture(of_account bigint, of_hold uuid) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    due bigint;
    source record;
BEGIN
    PERFORM 1 FROM account WHERE id = of_account FOR NO KEY UPDATE;
    UPDATE hold SET state = 1 WHERE id = of_hold AND state = 0 RETURNING amount INTO due;
    IF NOT FOUND THEN RETURN false; END IF;
    FOR source IN SELECT allowance_id, amount FROM part WHERE hold_id = of_hold LOOP
        UPDATE allowance SET held = held - source.amount, spent = spent + source.amount WHERE id = source.allowance_id;
        INSERT INTO entry (account_id, allowance_id, hold_id, src, dst, amount)
            VALUES (of_account, source.allowance_id, of_hold, 2, 3, source.amount);
    END LOOP;
    UPDATE account SET held = held - due, seq = seq + 1 WHERE id = of_account;
    RETURN true;
END $$;
