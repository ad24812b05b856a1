"""What jobs written by hand know of the six tables; the join is read alike by Spark and by DuckDB."""

from __future__ import annotations

KEYS_AND_CURSORS = {
    "account": ("id", "updated_at"),
    "account_metadata": ("id", "updated_at"),
    "account_risk": ("id", "updated_at"),
    "queue": ("id", "updated_at"),
    "settlement_transaction": ("id", "created_at"),
    "adjustment": ("id", "updated_at"),
}
MART = "account_settlements"
JOINED = ("account", "account_metadata", "account_risk", "queue", "settlement_transaction")
# `place` is what stands before a table's name, with its dot.
MART_SQL = """
    SELECT a.account_id AS account_account_id, a.id AS account_id, a.name AS account_name,
        a.status AS account_status, a.country, a.external_id,
        a.credit_limit, a.is_active, a.opened_on, a.tags, a.created_at AS account_created_at,
        a.updated_at AS account_updated_at,
        m.legal_name, m.contact_email, m.preferences, m.opted_in, m.last_login_at,
        m.updated_at AS account_metadata_updated_at, m.id AS account_metadata_id,
        r.risk_score, r.risk_band, r.model_version, r.watchlist_hits, r.is_sanctioned, r.reviewed_on,
        r.updated_at AS account_risk_updated_at, r.id AS account_risk_id,
        q.queue_id AS queue_queue_id, q.id AS queue_id, q.name AS queue_name, q.status AS queue_status,
        q.priority, q.is_paused, q.routing, q.opened_at, q.updated_at AS queue_updated_at,
        t.transaction_id, t.reference, t.amount, t.fee, t.currency,
        t.status AS settlement_transaction_status, t.settled_on, t.memo,
        t.created_at AS settlement_transaction_created_at, t.id AS settlement_transaction_id
    FROM {place}account AS a
    JOIN {place}account_metadata AS m ON m.account_id = a.account_id
    JOIN {place}account_risk AS r ON r.account_id = a.account_id
    JOIN {place}queue AS q ON q.account_id = a.account_id
    JOIN {place}settlement_transaction AS t ON t.queue_id = q.queue_id
"""
