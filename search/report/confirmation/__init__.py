"""Confirmations: contenders trained long with fresh seeds, raced, compared in pairs and judged."""
