"""The verbs about studies: run them, steer them, watch them, report on them."""
