"""BERT, small and from scratch: are there more ones than twos in a sequence?"""

import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification

LENGTH, VOCABULARY = 16, 8


class Sequences(Dataset):
    """Samples that are dicts, as Hugging Face models take them."""

    def __init__(self, count, seed):
        draw = torch.Generator().manual_seed(seed)
        self.tokens = torch.randint(1, VOCABULARY, (count, LENGTH), generator=draw)
        ones, twos = ((self.tokens == number).sum(dim=1) for number in (1, 2))
        self.labels = (ones > twos).long()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        tokens = self.tokens[index]
        return {
            "input_ids": tokens,
            "attention_mask": torch.ones_like(tokens),
            "labels": self.labels[index],
        }


def load():
    return Sequences(1000, seed=0), Sequences(400, seed=1)


def build(widths):
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=widths["hidden"],
        intermediate_size=widths["intermediate"],
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=2,
    )
    return BertForSequenceClassification(config)
