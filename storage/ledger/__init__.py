"""The ledger: a study's budget as slots, leased, bound and settled exactly once."""
