"""Fine-tuning: the loop of chapter 15, to paste."""

# Imports, and what stands in for your model and your text
import math
import tempfile
from collections import OrderedDict
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainingArguments

torch.manual_seed(0)
source = Path(nn.functional.__file__).read_text(encoding="ascii", errors="ignore")
tokens = torch.tensor([c for c in source.encode() if c < 128])[:33_000].view(-1, 33)
windows = [{"x": row[:-1], "labels": row[1:]} for row in tokens]
layers = [("token", nn.Embedding(128, 32)), ("up", nn.Linear(32, 128)), ("bend", nn.GELU())]
base = nn.Sequential(OrderedDict([*layers, ("down", nn.Linear(128, 128))]))

class WithLoss(nn.Module):
    """The models of transformers compute their loss; to any other we add it."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x, labels):
        scores = self.model(x)
        return {"loss": nn.functional.cross_entropy(scores.flatten(0, 1), labels.flatten())}

def fine_tune(model, windows, rate, epochs=3, batch=16, pieces=1, log_every=1):
    trained = [w for w in model.parameters() if w.requires_grad]
    optimizer = AdamW(trained, lr=rate, weight_decay=0.0)
    minibatches = math.ceil(len(windows) / batch)  # on one device
    updates = epochs * math.ceil(minibatches / pieces)
    scheduler = LambdaLR(optimizer, lambda t: 1 - t / updates)
    arguments = TrainingArguments(
        tempfile.mkdtemp(), num_train_epochs=epochs, per_device_train_batch_size=batch,
        gradient_accumulation_steps=pieces, logging_steps=log_every, save_strategy="no",
        report_to="none", disable_tqdm=True, dataloader_pin_memory=torch.cuda.is_available(),
    )  # fmt: skip
    trainer = Trainer(
        WithLoss(model), arguments, train_dataset=windows, optimizers=(optimizer, scheduler)
    )
    trainer.remove_callback(PrinterCallback)  # it would print each row of the log
    trainer.train()
    return [row for row in trainer.state.log_history if "learning_rate" in row]

pair = LoraConfig(r=4, lora_alpha=8, target_modules=["up", "down"])
adapted = get_peft_model(base, pair)  # before the optimizer is made; it changes base itself
log = fine_tune(adapted, windows, rate=0.01, pieces=2)
for row in (log[0], log[-1]):
    print(f"update {row['step']}: rate {row['learning_rate']:.5f}, loss {row['loss']:.2f}")
with torch.no_grad():
    losses = [WithLoss(adapted)(**batch)["loss"] for batch in DataLoader(windows, batch_size=64)]
print(f"after it: {torch.stack(losses).mean():.2f}")
