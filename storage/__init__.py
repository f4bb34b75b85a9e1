"""Storage knows SQL: the ledger of budget slots and the Optuna study that mirrors it."""
