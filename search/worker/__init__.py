"""Workers: the supervisor that holds leases and the trainer process that trains."""
