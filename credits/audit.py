"""Proves the ledger from its entries. Reads only; every line it returns is something that must never be.

I1 a grant's buckets add up, none below zero. I2 a wallet is the sum of its grants. I3 what it holds is its pending
holds. I4 a hold is the sum of its parts, ended in full. I5 the entries, replayed, give every bucket and balance, and
are numbered without a gap. I6 a hold ends once; a reference stands for one thing. I7 nothing came from nowhere or
went nowhere, and nobody can change an entry. I8 nothing was reserved from a grant outside its time. I9 nobody in
debt reserved. I10 what was granted or spent never falls: no kind of entry lowers either.
"""

from django.db import connection, transaction

# The key says what is wrong with the id that the statement returns.
CHECKS: dict[str, str] = {
    # I1
    "grant {0}: buckets do not add up to what was granted": """
        SELECT id FROM credits_grant
        WHERE granted_centi <> available_centi + held_centi + spent_centi + expired_centi + revoked_centi
            OR least(available_centi, held_centi, spent_centi, expired_centi, revoked_centi) < 0""",
    # I2
    "wallet {0}: available or held differs from its grants": """
        SELECT w.id FROM credits_wallet w LEFT JOIN (
            SELECT wallet_id, sum(available_centi) a, sum(held_centi) h FROM credits_grant
            WHERE unit = 'credit' GROUP BY 1
        ) g ON g.wallet_id = w.id
        WHERE (w.available_centi, w.held_centi) <> (coalesce(g.a, 0), coalesce(g.h, 0))""",
    # I3
    "wallet {0}: held differs from its pending holds": """
        SELECT w.id FROM credits_wallet w LEFT JOIN (
            SELECT wallet_id, sum(amount_centi) s FROM credits_hold WHERE state = 'pending' GROUP BY 1
        ) h ON h.wallet_id = w.id
        WHERE w.held_centi <> coalesce(h.s, 0)""",
    # I4
    "hold {0}: its parts do not add up to it": """
        SELECT h.id FROM credits_hold h LEFT JOIN (
            SELECT hold_id,
                coalesce(sum(p.amount_centi) FILTER (WHERE unit = 'credit'), 0) a,
                coalesce(sum(charged_centi) FILTER (WHERE unit = 'credit'), 0) c,
                coalesce(sum(released_centi) FILTER (WHERE unit = 'credit'), 0) r,
                coalesce(sum(p.amount_centi) FILTER (WHERE unit = 'image'), 0) images,
                coalesce(sum(charged_centi) FILTER (WHERE unit = 'image'), 0) images_charged
            FROM credits_holdpart p JOIN credits_grant g ON g.id = p.grant_id GROUP BY 1
        ) p ON p.hold_id = h.id
        WHERE p.hold_id IS NULL
            OR (h.amount_centi, h.charged_centi, h.released_centi, 100 * h.pass_images, 100 * h.pass_images_charged)
            <> (p.a, p.c, p.r, p.images, p.images_charged)""",
    "hold {0}: a part of it did not end with it": """
        SELECT h.id FROM credits_hold h JOIN credits_holdpart p ON p.hold_id = h.id
        WHERE p.charged_centi + p.released_centi <> CASE h.state WHEN 'pending' THEN 0 ELSE p.amount_centi END
            OR (h.state <> 'pending' AND h.charged_centi + h.released_centi <> h.amount_centi)""",
    # I5, and I10: only a settle and a repay move the bucket of what was spent, and upwards
    "grant {0}: replaying its entries gives other buckets": """
        SELECT g.id FROM credits_grant g LEFT JOIN (
            SELECT grant_id,
                coalesce(sum(amount_centi) FILTER (WHERE kind = 'grant'), 0) granted,
                coalesce(sum(amount_centi) FILTER (WHERE kind = 'reserve'), 0) reserved,
                coalesce(sum(amount_centi) FILTER (WHERE kind = 'settle'), 0) settled,
                coalesce(sum(amount_centi) FILTER (WHERE kind = 'repay'), 0) repaid,
                coalesce(sum(amount_centi) FILTER (WHERE kind = 'release'), 0) released,
                coalesce(sum(amount_centi) FILTER (WHERE kind = 'lapse'), 0) lapsed,
                coalesce(sum(amount_centi) FILTER (WHERE kind = 'expire'), 0) expired,
                coalesce(sum(amount_centi) FILTER (WHERE kind = 'revoke'), 0)
                    - coalesce(sum(amount_centi) FILTER (WHERE kind = 'reinstate'), 0) revoked
            FROM credits_entry GROUP BY 1
        ) e ON e.grant_id = g.id
        WHERE e.grant_id IS NULL
            OR (g.granted_centi, g.available_centi, g.held_centi, g.spent_centi, g.expired_centi, g.revoked_centi)
            <> (e.granted, e.granted - e.reserved + e.released - e.expired - e.revoked - e.repaid,
                e.reserved - e.settled - e.released - e.lapsed, e.settled + e.repaid, e.lapsed + e.expired,
                e.revoked)""",
    "wallet {0}: its debt does not follow from its entries": """
        SELECT w.id FROM credits_wallet w LEFT JOIN (
            SELECT wallet_id, sum(amount_centi * CASE kind WHEN 'owe' THEN 1 ELSE -1 END) debt
            FROM credits_entry WHERE kind IN ('owe', 'repay', 'forgive') GROUP BY 1
        ) e ON e.wallet_id = w.id
        WHERE w.debt_centi <> coalesce(e.debt, 0)""",
    "clawback {0}: it is not what the entries of its grant say": """
        SELECT min(c.id) FROM credits_clawback c GROUP BY c.grant_id
        HAVING sum(c.revoked_centi + c.owed_centi) <> (SELECT coalesce(sum(amount_centi), 0) FROM credits_entry e
            WHERE e.grant_id = c.grant_id AND e.kind IN ('revoke', 'owe'))""",
    "grant {0}: more of its clawbacks was undone than they took": """
        SELECT e.grant_id FROM (
            SELECT grant_id, coalesce(sum(amount_centi) FILTER (WHERE kind = 'reinstate'), 0) given,
                coalesce(sum(amount_centi) FILTER (WHERE kind = 'forgive'), 0) forgiven
            FROM credits_entry WHERE kind IN ('reinstate', 'forgive') GROUP BY 1
        ) e LEFT JOIN (
            SELECT grant_id, sum(revoked_centi) revoked, sum(owed_centi) owed FROM credits_clawback
            WHERE undone_at IS NOT NULL GROUP BY 1
        ) c ON c.grant_id = e.grant_id
        WHERE e.given > coalesce(c.revoked, 0) OR e.forgiven > coalesce(c.owed, 0)""",
    "wallet {0}: its entries are not numbered 1 to seq": """
        SELECT w.id FROM credits_wallet w LEFT JOIN (
            SELECT wallet_id, count(*) n, max(seq) last FROM credits_entry GROUP BY 1
        ) e ON e.wallet_id = w.id
        WHERE w.seq <> coalesce(e.n, 0) OR w.seq <> coalesce(e.last, 0)""",
    "entry {0}: the balance after it does not follow from the one before": """
        SELECT id FROM (
            SELECT e.id, available_after_centi, held_after_centi, debt_after_centi,
                coalesce(lag(available_after_centi) OVER entries, 0) + moved * CASE
                    WHEN kind IN ('grant', 'release', 'reinstate') THEN 1
                    WHEN kind IN ('reserve', 'expire', 'revoke', 'repay') THEN -1 ELSE 0 END AS available,
                coalesce(lag(held_after_centi) OVER entries, 0) + moved * CASE
                    WHEN kind = 'reserve' THEN 1
                    WHEN kind IN ('settle', 'release', 'lapse') THEN -1 ELSE 0 END AS held,
                coalesce(lag(debt_after_centi) OVER entries, 0) + moved * CASE
                    WHEN kind = 'owe' THEN 1 WHEN kind IN ('repay', 'forgive') THEN -1 ELSE 0 END AS debt
            FROM (
                SELECT e.*, CASE g.unit WHEN 'credit' THEN e.amount_centi ELSE 0 END AS moved
                FROM credits_entry e JOIN credits_grant g ON g.id = e.grant_id
            ) e WINDOW entries AS (PARTITION BY wallet_id ORDER BY seq)
        ) chain WHERE (available_after_centi, held_after_centi, debt_after_centi) <> (available, held, debt)""",
    "wallet {0}: its newest entry says another balance": """
        SELECT w.id FROM credits_wallet w JOIN credits_entry e ON e.wallet_id = w.id AND e.seq = w.seq
        WHERE (w.available_centi, w.held_centi, w.debt_centi)
            <> (e.available_after_centi, e.held_after_centi, e.debt_after_centi)""",
    # I6
    "hold {0}: its entries are not what its parts say": """
        SELECT coalesce(p.hold_id, e.hold_id) FROM (
            SELECT hold_id, grant_id, amount_centi, charged_centi, released_centi FROM credits_holdpart
        ) p FULL JOIN (
            SELECT hold_id, grant_id,
                coalesce(sum(amount_centi) FILTER (WHERE kind = 'reserve'), 0) reserved,
                coalesce(sum(amount_centi) FILTER (WHERE kind = 'settle'), 0) settled,
                coalesce(sum(amount_centi) FILTER (WHERE kind IN ('release', 'lapse')), 0) released
            FROM credits_entry WHERE hold_id IS NOT NULL GROUP BY 1, 2
        ) e ON (e.hold_id, e.grant_id) = (p.hold_id, p.grant_id)
        WHERE (p.amount_centi, p.charged_centi, p.released_centi)
            IS DISTINCT FROM (e.reserved, e.settled, e.released)""",
    "grant {0}: another one has its reference": """
        SELECT max(id) FROM credits_grant GROUP BY source, source_ref HAVING count(*) > 1""",
    "hold {0}: another one has its reference": """
        SELECT max(id::text) FROM credits_hold GROUP BY reference HAVING count(*) > 1""",
    "hold {0}: charged late, and written down as uncollected, too": """
        SELECT h.id FROM credits_uncollected u JOIN credits_hold h ON h.id = u.hold_id
        WHERE h.state <> 'expired' OR EXISTS (SELECT FROM credits_hold l WHERE l.reference = h.reference || ':late')""",
    # I7
    "all grants: {0} hundredths more are in their buckets than were granted": """
        SELECT buckets - granted FROM (
            SELECT sum(available_centi + held_centi + spent_centi + expired_centi + revoked_centi) buckets
            FROM credits_grant
        ) g, (SELECT sum(amount_centi) granted FROM credits_entry WHERE kind = 'grant') e
        WHERE buckets IS DISTINCT FROM granted""",
    "the trigger {0}, which lets nobody change an entry, does not stand guard": """
        SELECT wanted.name FROM (VALUES ('entries_are_append_only'), ('entries_are_not_truncated')) AS wanted (name)
        WHERE NOT EXISTS (
            SELECT FROM pg_trigger WHERE tgrelid = 'credits_entry'::regclass AND tgenabled IN ('O', 'A')
                AND tgname = wanted.name
        )""",
    # I8
    "entry {0}: reserved from a grant that had ended or not begun": """
        SELECT e.id FROM credits_entry e JOIN credits_grant g ON g.id = e.grant_id
        WHERE e.kind = 'reserve' AND (g.expires_at <= e.created_at OR g.effective_at > e.created_at)""",
    # I9
    "entry {0}: reserved while in debt": """
        SELECT id FROM credits_entry WHERE kind = 'reserve' AND debt_after_centi > 0""",
    # I10
    "entry {0}: a kind of movement that the ledger does not know": """
        SELECT id FROM credits_entry WHERE kind NOT IN ('grant', 'reserve', 'settle', 'release', 'lapse', 'expire',
            'revoke', 'reinstate', 'owe', 'repay', 'forgive')""",
}
DRIFT_MAX = 100  # lines a check; the first few tell the story
SECONDS_MAX = 900  # a check; a page's statements get far less


def find_drift() -> list[str]:
    """Every place where the ledger does not agree with itself; an empty list is the only good answer."""
    drift: list[str] = []
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{SECONDS_MAX}s"])
        for sentence, sql in CHECKS.items():
            cursor.execute(f"{sql} LIMIT {DRIFT_MAX}")
            drift += [sentence.format(row[0]) for row in cursor.fetchall()]
    return drift
