# A Hugging Face Trainer: `widthwise run examples/hf_trainer.toml`.
import torch
from sklearn.datasets import load_digits
from transformers import BertConfig, BertForSequenceClassification, PrinterCallback, Trainer
from widthwise.integrations.transformers import TrialCallback, last_checkpoint, training_arguments

ROWS, TRAINING_ROWS = 1600, 1300


def build(widths):
    """BERT from a config, without its weights: nothing is downloaded."""
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=256,
            hidden_size=widths["hidden"],
            intermediate_size=widths["intermediate"],
            num_hidden_layers=1,
            num_attention_heads=4,
            max_position_embeddings=8,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            num_labels=10,
        )
    )


def costs(widths):
    with torch.device("meta"):
        return {"parameters": sum(tensor.numel() for tensor in build(widths).parameters())}


def load():
    """Images of digits, read row by row: 8 tokens, each a row of 8 black or white pixels."""
    images, digits = load_digits(return_X_y=True)
    bits = torch.tensor(images[:ROWS]).reshape(-1, 8, 8) > 7
    tokens = (bits * 2 ** torch.arange(8)).sum(-1)
    return [
        {"input_ids": row, "labels": int(digit)}
        for row, digit in zip(tokens, digits[:ROWS], strict=True)
    ]


def accuracy(evaluation):
    scores, digits = evaluation
    return {"accuracy": float((scores.argmax(1) == digits).mean())}


def train(widths, trial):
    rows = load()
    trainer = Trainer(
        model=build(widths),
        args=training_arguments(trial, learning_rate=5e-3, per_device_train_batch_size=32),
        train_dataset=rows[:TRAINING_ROWS],
        eval_dataset=rows[TRAINING_ROWS:],
        compute_metrics=accuracy,
        callbacks=[TrialCallback(trial, monitor="eval_accuracy")],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=last_checkpoint(trial))
