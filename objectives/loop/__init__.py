"""The training loop: candidates trained together, milestone by milestone."""
