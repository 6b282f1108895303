"""What is read about credits. Nothing here writes or locks."""

from credits.queries.balances import (
    Balance,
    Header,
    Preview,
    Summary,
    balance_of,
    header_of,
    preview,
    summary_of,
)
from credits.queries.dashboard import Day, days_of, grants_of, pending_holds
from credits.queries.passes import PassState, State, pass_page, states_of
from credits.queries.receipts import JobReceipt, first_holds, receipt_of
from credits.queries.statement import StatementPage, statement_page, whole_statement

__all__ = [
    "Balance",
    "Day",
    "Header",
    "JobReceipt",
    "PassState",
    "Preview",
    "State",
    "StatementPage",
    "Summary",
    "balance_of",
    "days_of",
    "first_holds",
    "grants_of",
    "header_of",
    "pass_page",
    "pending_holds",
    "preview",
    "receipt_of",
    "statement_page",
    "states_of",
    "summary_of",
    "whole_statement",
]
