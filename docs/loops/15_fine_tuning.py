"""Fine-tuning: the loop of chapter 15, to paste."""

# Imports, and what stands in for your model and your text
import math
import tempfile
from collections import OrderedDict
from pathlib import Path
from pydoc_data.topics import topics

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from transformers import PrinterCallback, Trainer, TrainingArguments


def windows(text, size=33_000):
    rows = torch.tensor([c for c in text.encode() if c < 128])[:size].view(-1, 33)
    return [{"x": row[:-1], "labels": row[1:]} for row in rows]


torch.manual_seed(0)
old = windows(Path(nn.functional.__file__).read_text(encoding="utf-8"))
new = windows("".join(topics.values()))
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

def fine_tune(model, text, rate, epochs=3, batch=16, pieces=1, log_every=1, watched=None):
    trained = [w for w in model.parameters() if w.requires_grad]
    optimizer = AdamW(trained, lr=rate, weight_decay=0.0)
    minibatches = math.ceil(len(text) / batch)  # as the DataLoader of the Trainer, on one device
    updates = epochs * math.ceil(minibatches / pieces)  # pieces: minibatches an update sums
    scheduler = LambdaLR(optimizer, lambda t: 1 - t / updates)
    arguments = TrainingArguments(
        tempfile.mkdtemp(), num_train_epochs=epochs, per_device_train_batch_size=batch,
        gradient_accumulation_steps=pieces, logging_steps=log_every, save_strategy="no",
        eval_strategy="epoch" if watched else "no", eval_on_start=bool(watched),
        report_to="none", disable_tqdm=True, dataloader_pin_memory=torch.cuda.is_available(),
    )  # fmt: skip
    trainer = Trainer(WithLoss(model), arguments, train_dataset=text, eval_dataset=watched,
                      optimizers=(optimizer, scheduler))  # fmt: skip
    trainer.remove_callback(PrinterCallback)  # it would print each row of the log
    trainer.train()
    return trainer.state.log_history

# Yours: base = AutoModelForCausalLM.from_pretrained("its name"), and no WithLoss around it
fine_tune(base, old[:-64], rate=0.01, epochs=1)
adapted = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=["up", "down"]))
log = fine_tune(adapted, new[64:], rate=0.01, pieces=2, watched={"new": new[:64], "old": old[-64:]})
rates = [row for row in log if "learning_rate" in row]
for row in (rates[0], rates[-1]):
    print(f"update {row['step']}: rate {row['learning_rate']:.5f}, loss {row['loss']:.2f}")
for name in ("new", "old"):
    seen = [row[f"eval_{name}_loss"] for row in log if f"eval_{name}_loss" in row]
    print(f"{name} text:", ", ".join(f"{loss:.2f}" for loss in seen), "(before, after each epoch)")
