-- The same reserve and capture as two calls of functions that live in the database. For pgbench.
\set account random(1, :accounts)
SELECT reserve(:account, 5, gen_random_uuid()) AS hold \gset
SELECT capture(:account, :hold);
