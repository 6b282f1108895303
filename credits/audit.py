"""Proves the ledger from its entries. Reads only; every line it returns is something that must never be."""

from django.db import connection

CHECKS: dict[str, str] = {
    "grant {0}: buckets do not add up to what was granted": """
        SELECT id FROM credits_grant
        WHERE granted_centi <> available_centi + held_centi + spent_centi + expired_centi + revoked_centi""",
    "wallet {0}: available or held differs from its grants": """
        SELECT w.id FROM credits_wallet w LEFT JOIN (
            SELECT wallet_id, sum(available_centi) a, sum(held_centi) h FROM credits_grant GROUP BY 1
        ) g ON g.wallet_id = w.id
        WHERE (w.available_centi, w.held_centi) <> (coalesce(g.a, 0), coalesce(g.h, 0))""",
    "wallet {0}: held differs from its pending holds": """
        SELECT w.id FROM credits_wallet w LEFT JOIN (
            SELECT wallet_id, sum(amount_centi) s FROM credits_hold WHERE state = 'pending' GROUP BY 1
        ) h ON h.wallet_id = w.id
        WHERE w.held_centi <> coalesce(h.s, 0)""",
    "hold {0}: its parts do not add up to it": """
        SELECT h.id FROM credits_hold h LEFT JOIN (
            SELECT hold_id, sum(amount_centi) a, sum(charged_centi) c, sum(released_centi) r
            FROM credits_holdpart GROUP BY 1
        ) p ON p.hold_id = h.id
        WHERE (h.amount_centi, h.charged_centi, h.released_centi)
            <> (coalesce(p.a, 0), coalesce(p.c, 0), coalesce(p.r, 0))""",
    "grant {0}: replaying its entries gives other buckets": """
        SELECT g.id FROM credits_grant g LEFT JOIN (
            SELECT grant_id,
                coalesce(sum(amount_centi) FILTER (WHERE kind = 'grant'), 0) granted,
                coalesce(sum(amount_centi) FILTER (WHERE kind = 'reserve'), 0) reserved,
                coalesce(sum(amount_centi) FILTER (WHERE kind = 'settle'), 0) settled,
                coalesce(sum(amount_centi) FILTER (WHERE kind = 'release'), 0) released,
                coalesce(sum(amount_centi) FILTER (WHERE kind = 'lapse'), 0) lapsed,
                coalesce(sum(amount_centi) FILTER (WHERE kind = 'expire'), 0) expired,
                coalesce(sum(amount_centi) FILTER (WHERE kind = 'revoke'), 0)
                    - coalesce(sum(amount_centi) FILTER (WHERE kind = 'reinstate'), 0) revoked
            FROM credits_entry GROUP BY 1
        ) e ON e.grant_id = g.id
        WHERE e.grant_id IS NULL OR (g.granted_centi, g.held_centi, g.spent_centi, g.expired_centi, g.revoked_centi)
            <> (e.granted, e.reserved - e.settled - e.released - e.lapsed, e.settled, e.lapsed + e.expired, e.revoked)
        """,
    "wallet {0}: its entries are not numbered 1 to seq": """
        SELECT w.id FROM credits_wallet w LEFT JOIN (
            SELECT wallet_id, count(*) n, max(seq) last FROM credits_entry GROUP BY 1
        ) e ON e.wallet_id = w.id
        WHERE w.seq <> coalesce(e.n, 0) OR w.seq <> coalesce(e.last, 0)""",
    "entry {0}: the balance after it does not follow from the one before": """
        SELECT id FROM (
            SELECT id, available_after_centi, held_after_centi,
                coalesce(lag(available_after_centi) OVER entries, 0) + amount_centi * CASE
                    WHEN kind IN ('grant', 'release', 'reinstate') THEN 1
                    WHEN kind IN ('reserve', 'expire', 'revoke') THEN -1 ELSE 0 END AS available,
                coalesce(lag(held_after_centi) OVER entries, 0) + amount_centi * CASE
                    WHEN kind = 'reserve' THEN 1
                    WHEN kind IN ('settle', 'release', 'lapse') THEN -1 ELSE 0 END AS held
            FROM credits_entry WINDOW entries AS (PARTITION BY wallet_id ORDER BY seq)
        ) chain WHERE (available_after_centi, held_after_centi) <> (available, held)""",
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
