-- Reserve and settle, one round trip each: the wallet stays locked for as long as they take, and every statement that
-- Python sends meanwhile costs more than the server needs for all of it (docs/benchmarks.md, ledger). What else moves
-- credits is in Python, beside this file, and calls `credits_spendable`, too.
--
-- Installed after every `migrate`, see functions.py. Processes of the release before call them as well: what a function
-- takes or returns changes only under a new name.
--
-- VOLATILE, as functions are: each statement sees what was committed before it began. So the lock comes first, and
-- grants and parts are read after it. `moment` is taken under the lock, too: whatever waited has waited.

CREATE OR REPLACE FUNCTION credits_spendable(of_wallet bigint, side_px int, moment timestamptz)
RETURNS TABLE (grant_id bigint, unit varchar, available_centi bigint) LANGUAGE sql STABLE AS $$
    -- In burn order. A grant that has ended does not count, swept or not; images of a pass only where it covers the
    -- longest side of the picture, and never where that is null.
    SELECT id, unit, available_centi FROM credits_grant
    WHERE wallet_id = of_wallet AND available_centi > 0 AND effective_at <= moment
        AND (expires_at IS NULL OR expires_at > moment)
        AND (unit = 'credit' OR covers_px >= side_px)
    ORDER BY unit <> 'image', source <> 'pass', expires_at NULLS LAST, burn_rank, id
$$;


-- Sets aside what a quote costs: images of passes first, the rest in credits. `made_until` is null when nothing was
-- made: the wallet is frozen, in debt or short, the price is above `at_most`, or the reference is taken; then nothing
-- has moved. `wallet` is null when the team has none.
CREATE OR REPLACE FUNCTION credits_reserve(
    of_team uuid, hold uuid, named varchar, quoted jsonb, unit_centi bigint, wanted int, side_px int, at_most bigint,
    lasts interval,
    OUT made_until timestamptz, OUT wallet bigint, OUT frozen_reason varchar, OUT debt_centi bigint,
    OUT images int, OUT covered_centi bigint
) LANGUAGE plpgsql AS $$
DECLARE
    purse credits_wallet;
    moment timestamptz;
    source record;
    taken bigint;
    grants bigint[] := '{}';
    amounts bigint[] := '{}';
    units varchar[] := '{}';
BEGIN
    SELECT * INTO purse FROM credits_wallet w WHERE w.team_id = of_team FOR NO KEY UPDATE;
    moment := clock_timestamp();
    wallet := purse.id;
    frozen_reason := purse.frozen_reason;
    debt_centi := purse.debt_centi;
    images := 0;
    covered_centi := 0;
    FOR source IN SELECT * FROM credits_spendable(purse.id, side_px, moment) LOOP
        IF source.unit = 'image' THEN
            taken := least(100 * (wanted - images), source.available_centi);
            images := images + taken / 100;
        ELSE
            taken := least(unit_centi * (wanted - images) - covered_centi, source.available_centi);
            covered_centi := covered_centi + taken;
        END IF;
        EXIT WHEN taken = 0;
        grants := grants || source.grant_id;
        amounts := amounts || taken;
        units := units || source.unit;
    END LOOP;
    IF purse.frozen_reason <> '' OR purse.debt_centi > 0
            OR covered_centi < unit_centi * (wanted - images) OR covered_centi > at_most THEN
        RETURN;
    END IF;

    INSERT INTO credits_hold (id, wallet_id, reference, amount_centi, charged_centi, released_centi, pass_images,
            pass_images_charged, state, quote, expires_at, created_at)
        VALUES (hold, wallet, named, covered_centi, 0, 0, images, 0, 'pending', quoted, moment + lasts, moment)
        ON CONFLICT (reference) DO NOTHING RETURNING expires_at INTO made_until;
    IF NOT FOUND THEN  -- money moves only behind the row that names it
        RETURN;
    END IF;
    FOR place IN 1 .. cardinality(grants) LOOP
        UPDATE credits_grant SET available_centi = available_centi - amounts[place],
            held_centi = held_centi + amounts[place] WHERE id = grants[place];
        INSERT INTO credits_holdpart (hold_id, grant_id, amount_centi, charged_centi, released_centi)
            VALUES (hold, grants[place], amounts[place], 0, 0);
        purse.seq := purse.seq + 1;
        IF units[place] = 'credit' THEN
            purse.available_centi := purse.available_centi - amounts[place];
            purse.held_centi := purse.held_centi + amounts[place];
        END IF;
        INSERT INTO credits_entry (wallet_id, seq, grant_id, hold_id, kind, amount_centi, available_after_centi,
                held_after_centi, debt_after_centi, actor, reason, created_at)
            VALUES (wallet, purse.seq, grants[place], hold, 'reserve', amounts[place], purse.available_centi,
                purse.held_centi, purse.debt_centi, 'system', '', moment);
    END LOOP;
    UPDATE credits_wallet w SET seq = purse.seq, available_centi = purse.available_centi,
        held_centi = purse.held_centi WHERE w.id = wallet;
END $$;


-- Ends a hold: charges for `delivered` of what was quoted, in burn order, and gives the rest back to the grants it came
-- from. Null delivered: nothing is charged, and the hold counts as expired. Once: a second call moves nothing.
-- `hold` is null when there is none; `is_new` says whether this call ended it; the figures are the first ones.
CREATE OR REPLACE FUNCTION credits_settle(
    of_team uuid, named varchar, delivered int,
    OUT hold uuid, OUT is_new boolean, OUT state varchar, OUT charged_centi bigint, OUT released_centi bigint,
    OUT images int, OUT debt_centi bigint
) LANGUAGE plpgsql AS $$
DECLARE
    purse credits_wallet;
    ending credits_hold;
    moment timestamptz;
    part record;
    paid bigint;
    back bigint;
    images_left bigint;
    charge_left bigint;
BEGIN
    SELECT * INTO purse FROM credits_wallet w WHERE w.team_id = of_team FOR NO KEY UPDATE;
    moment := clock_timestamp();
    debt_centi := purse.debt_centi;
    SELECT * INTO ending FROM credits_hold h WHERE h.reference = named AND h.wallet_id = purse.id;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    ASSERT coalesce(delivered, 0) BETWEEN 0 AND (ending.quote ->> 'count')::int, 'more than was quoted';
    hold := ending.id;
    images := least(coalesce(delivered, 0), ending.pass_images);
    charged_centi := (ending.quote ->> 'unit_centi')::bigint * (coalesce(delivered, 0) - images);
    released_centi := ending.amount_centi - charged_centi;
    state := CASE WHEN delivered IS NULL THEN 'expired' ELSE 'settled' END;

    -- The compare-and-set: the first end of a hold wins, and only behind it money moves.
    UPDATE credits_hold h SET state = credits_settle.state, charged_centi = credits_settle.charged_centi,
        released_centi = credits_settle.released_centi, pass_images_charged = images, settled_at = moment
        WHERE h.id = hold AND h.state = 'pending';
    is_new := FOUND;
    IF NOT is_new THEN
        state := ending.state;
        charged_centi := ending.charged_centi;
        released_centi := ending.released_centi;
        images := ending.pass_images_charged;
        RETURN;
    END IF;
    images_left := 100 * images;
    charge_left := charged_centi;
    FOR part IN
        SELECT p.id, p.amount_centi, g.id AS grant_id, g.unit, coalesce(g.expires_at <= moment, false) AS has_ended
        FROM credits_holdpart p JOIN credits_grant g ON g.id = p.grant_id WHERE p.hold_id = hold ORDER BY p.id
    LOOP
        IF part.unit = 'image' THEN
            paid := least(images_left, part.amount_centi);
            images_left := images_left - paid;
        ELSE
            paid := least(charge_left, part.amount_centi);
            charge_left := charge_left - paid;
        END IF;
        back := part.amount_centi - paid;
        UPDATE credits_holdpart p SET charged_centi = paid, released_centi = back WHERE p.id = part.id;
        UPDATE credits_grant g SET held_centi = g.held_centi - part.amount_centi, spent_centi = g.spent_centi + paid,
            available_centi = g.available_centi + CASE WHEN part.has_ended THEN 0 ELSE back END,
            expired_centi = g.expired_centi + CASE WHEN part.has_ended THEN back ELSE 0 END  -- it never revives
            WHERE g.id = part.grant_id;
        IF paid > 0 THEN
            purse.seq := purse.seq + 1;
            IF part.unit = 'credit' THEN
                purse.held_centi := purse.held_centi - paid;
            END IF;
            INSERT INTO credits_entry (wallet_id, seq, grant_id, hold_id, kind, amount_centi, available_after_centi,
                    held_after_centi, debt_after_centi, actor, reason, created_at)
                VALUES (purse.id, purse.seq, part.grant_id, hold, 'settle', paid, purse.available_centi,
                    purse.held_centi, purse.debt_centi, 'system', '', moment);
        END IF;
        IF back > 0 THEN
            purse.seq := purse.seq + 1;
            IF part.unit = 'credit' THEN
                purse.held_centi := purse.held_centi - back;
                purse.available_centi := purse.available_centi + CASE WHEN part.has_ended THEN 0 ELSE back END;
            END IF;
            INSERT INTO credits_entry (wallet_id, seq, grant_id, hold_id, kind, amount_centi, available_after_centi,
                    held_after_centi, debt_after_centi, actor, reason, created_at)
                VALUES (purse.id, purse.seq, part.grant_id, hold,
                    CASE WHEN part.has_ended THEN 'lapse' ELSE 'release' END, back, purse.available_centi,
                    purse.held_centi, purse.debt_centi, 'system', '', moment);
        END IF;
    END LOOP;
    UPDATE credits_wallet w SET seq = purse.seq, available_centi = purse.available_centi,
        held_centi = purse.held_centi WHERE w.id = purse.id;
END $$;
