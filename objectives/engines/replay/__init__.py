"""The replay engine: a recorded step of any module, run again without autograd."""
