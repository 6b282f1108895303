"""Credits for staff: everything is visible, little is editable, and every act is a service that notes who did it."""

from credits.admin import billing, ledger, passes, plans, prices  # they register what they show
from credits.admin.columns import credits_column

__all__ = ["billing", "credits_column", "ledger", "passes", "plans", "prices"]
