"""Proves the ledger from its entries. Reads only; every line it returns is something that must never be."""

from django.db import connection

CHECKS: dict[str, str] = {
    "grant {0}: buckets do not add up to what was granted": """
        SELECT id FROM credits_grant
        WHERE granted_centi <> available_centi + held_centi + spent_centi + expired_centi + revoked_centi""",
    "wallet {0}: available or held differs from its grants": """
        SELECT w.id FROM credits_wallet w LEFT JOIN (
            SELECT wallet_id, sum(available_centi) a, sum(held_centi) h FROM credits_grant
            WHERE unit = 'credit' GROUP BY 1
        ) g ON g.wallet_id = w.id
        WHERE (w.available_centi, w.held_centi) <> (coalesce(g.a, 0), coalesce(g.h, 0))""",
    "wallet {0}: held differs from its pending holds": """
        SELECT w.id FROM credits_wallet w LEFT JOIN (
            SELECT wallet_id, sum(amount_centi) s FROM credits_hold WHERE state = 'pending' GROUP BY 1
        ) h ON h.wallet_id = w.id
        WHERE w.held_centi <> coalesce(h.s, 0)""",
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
        WHERE e.grant_id IS NULL OR (g.granted_centi, g.held_centi, g.spent_centi, g.expired_centi, g.revoked_centi)
            <> (e.granted, e.reserved - e.settled - e.released - e.lapsed, e.settled + e.repaid, e.lapsed + e.expired,
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
}
DRIFT_MAX = 100  # lines a check; the first few tell the story


def find_drift() -> list[str]:
    """Every place where the ledger does not agree with itself; an empty list is the only good answer."""
    drift: list[str] = []
    with connection.cursor() as cursor:
        for sentence, sql in CHECKS.items():
            cursor.execute(f"{sql} LIMIT {DRIFT_MAX}")
            drift += [sentence.format(row[0]) for row in cursor.fetchall()]
    return drift
