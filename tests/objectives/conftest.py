"""One thread a test process: small tensors gain nothing, and busy cores make threads wait."""

import torch

torch.set_num_threads(1)
