"""Writes embeddings and three training steps of LoRA by peft, on the tiny models of src/models/architectures/fixtures/.

Run from the repository root:  python tools/reference/lora_golden.py
(needs: torch, transformers, peft, safetensors; and the output of architecture_golden.py)

src/models/folder/fixtures/lora/<name>/        bert: two kinds of target, matrices [outputs, inputs]; gpt2: [inputs, outputs]
    adapter_config.json, adapter_model.safetensors   saved by peft before training; B is not zero, so that A has a gradient
    golden.json                         loss and gradient norm of each step
    golden.safetensors
        embedding                       pooled embeddings of the first batch's documents before training, rows of unit length
        trained/<name>                  A and B after three steps, under the names of adapter_model.safetensors

Batches, temperature, learning rate, decay and clipping come from batches.json of those fixtures. PyTorch computes in float64.
"""

import json
import pathlib

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy, normalize
from transformers import AutoModel

MODELS = pathlib.Path("src/models/architectures/fixtures")
OUT = pathlib.Path("src/models/folder/fixtures/lora")
CASES = {
    "bert": dict(r=2, lora_alpha=6, target_modules=["attention.self.value", "intermediate.dense"]),
    "gpt2": dict(r=3, lora_alpha=3, target_modules=["c_attn"], fan_in_fan_out=True),
}
batches = json.loads((MODELS / "batches.json").read_text())


def make(name, lora):
    torch.manual_seed(7)
    attention = "eager" if name == "bert" else "sdpa"
    base = AutoModel.from_pretrained(MODELS / name, attn_implementation=attention, dtype=torch.float64).eval()
    model = get_peft_model(base, LoraConfig(task_type="FEATURE_EXTRACTION", lora_dropout=0.0, **lora)).eval()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for p in trained.values():
            p.copy_((0.3 * torch.randn_like(p)).float().double())
    folder = OUT / name
    model.save_pretrained(folder)
    (folder / "README.md").unlink()  # a card without content
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file({n: t.float() for n, t in tensors.items()}, folder / "adapter_model.safetensors")
    settings = json.loads((folder / "adapter_config.json").read_text())
    settings["target_modules"].sort()  # comes from a set
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=2) + "\n")

    golden = json.loads((MODELS / name / "golden.json").read_text())

    def embed(rows):
        longest = max(map(len, rows))
        ids = torch.tensor([row + [golden["padId"]] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[float(i < len(row)) for i in range(longest)] for row in rows])
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
        if golden["pooling"] == "mean":
            pooled = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        else:
            pooled = hidden[torch.arange(len(rows)), mask.sum(1).long() - 1]
        return normalize(pooled, dim=1)

    with torch.no_grad():
        stored = {"embedding": embed(batches["steps"][0]["document"]).float()}
    optimizer = torch.optim.AdamW(
        trained.values(), lr=batches["learningRate"], weight_decay=batches["weightDecay"]
    )
    measured = []
    for step in batches["steps"]:
        queries, documents = (embed(step[side]) for side in ("query", "document"))
        loss = cross_entropy(queries @ documents.T / batches["temperature"], torch.arange(len(queries)))
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(trained.values(), batches["maxGradientNorm"])
        optimizer.step()
        measured.append({"loss": loss.item(), "gradientNorm": norm.item()})
    stored |= {f"trained/{n.replace('.default', '')}": p.detach().float() for n, p in trained.items()}
    save_file(stored, folder / "golden.safetensors")
    (folder / "golden.json").write_text(json.dumps({"steps": measured}) + "\n")
    for file in folder.iterdir():
        file.chmod(0o644)
    print(name, measured)


torch.set_default_dtype(torch.float64)
for name, lora in CASES.items():
    make(name, lora)
