# A Lightning module of one's own: `widthwise run examples/lightning_module.toml`.
import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from widthwise.integrations.lightning import last_checkpoint, trainer_options


def build(widths):
    return nn.Sequential(
        nn.Linear(64, widths["hidden1"]),
        nn.ReLU(),
        nn.Linear(widths["hidden1"], widths["hidden2"]),
        nn.ReLU(),
        nn.Linear(widths["hidden2"], 10),
    )


class Classifier(lightning.LightningModule):
    def __init__(self, widths):
        super().__init__()
        self.model = build(widths)

    def training_step(self, batch, _):
        images, digits = batch
        return nn.functional.cross_entropy(self.model(images), digits)

    def validation_step(self, batch, _):
        images, digits = batch
        scores = self.model(images)
        self.log("val_loss", nn.functional.cross_entropy(scores, digits))
        self.log("val_accuracy", (scores.argmax(1) == digits).float().mean())

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


def train(widths, trial):
    images, digits = load_digits(return_X_y=True)
    images = torch.tensor(images, dtype=torch.float32) / 16
    digits = torch.tensor(digits)
    training = DataLoader(
        TensorDataset(images[:1200], digits[:1200]), batch_size=64, shuffle=True, drop_last=True
    )
    validation = DataLoader(TensorDataset(images[1200:], digits[1200:]), batch_size=600)
    trainer = lightning.Trainer(**trainer_options(trial, monitor="val_accuracy"))
    trainer.fit(Classifier(widths), training, validation, ckpt_path=last_checkpoint(trial))
    return trainer.callback_metrics["val_accuracy"].item()
