"""The projection: Optuna's view of the ledger, and its dashboard."""
