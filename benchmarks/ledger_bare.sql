-- One reserve and one capture as a careful programmer types them, a statement at a time. For pgbench.
\set account random(1, :accounts)
BEGIN;
SELECT available FROM account WHERE id = :account FOR NO KEY UPDATE;
SELECT id AS allowance, gen_random_uuid() AS hold FROM allowance
    WHERE account_id = :account AND available > 0 AND (expires_at IS NULL OR expires_at > now())
    ORDER BY priority, expires_at, id LIMIT 1 \gset
UPDATE account SET available = available - 5, held = held + 5, seq = seq + 1 WHERE id = :account;
INSERT INTO hold VALUES (:hold, :account, 5, 0, gen_random_uuid(), now() + interval '15 minutes');
UPDATE allowance SET available = available - 5, held = held + 5 WHERE id = :allowance;
INSERT INTO part VALUES (:hold, :allowance, 5);
INSERT INTO entry (account_id, allowance_id, hold_id, src, dst, amount) VALUES (:account, :allowance, :hold, 1, 2, 5);
COMMIT;
BEGIN;
SELECT held FROM account WHERE id = :account FOR NO KEY UPDATE;
UPDATE hold SET state = 1 WHERE id = :hold AND state = 0;
SELECT allowance_id FROM part WHERE hold_id = :hold;
UPDATE allowance SET held = held - 5, spent = spent + 5 WHERE id = :allowance;
INSERT INTO entry (account_id, allowance_id, hold_id, src, dst, amount) VALUES (:account, :allowance, :hold, 2, 3, 5);
UPDATE account SET held = held - 5, seq = seq + 1 WHERE id = :account;
COMMIT;
