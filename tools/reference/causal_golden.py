"""Writes tiny random causal decoders, saved by transformers, with their logits, loss, gradients and greedy outputs.

Run from the repository root:  python tools/reference/causal_golden.py     (needs: torch, transformers, safetensors, tokenizers)

For src/models/language-model.test.ts:

src/models/language/fixtures/causal/<name>/
    config.json, model.safetensors, tokenizer.json   a folder of transformers; tokens are letters
    golden.json          texts, their token ids, the sum of log-probabilities of each text, the loss over all texts, and the greedy
                         continuation of a prompt
    golden.safetensors
        logits           f32[texts, longest, vocabulary], padded with zeros
        gradient/<name>  gradient of the loss, by the names in model.safetensors

PyTorch computes in float64. Its eager attention would not, so another implementation is used. Stored values are float32.
"""

import copy
import json
import pathlib
import string

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, processors

OUT = pathlib.Path("src/models/language/fixtures/causal")
LETTERS = ["<s>", "</s>", *string.ascii_letters[:-2]]
TEXTS = ["abcdefg", "zyXWvu", "q", "HaLLoworLd"]
START = "helLo"
SIZES = dict(vocab_size=len(LETTERS), bos_token_id=0, eos_token_id=1, pad_token_id=None)
ROTARY = dict(
    SIZES,
    hidden_size=8,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=12,
    max_position_embeddings=32,
    head_dim=4,
)
CASES = {
    "gpt2": transformers.GPT2LMHeadModel(
        transformers.GPT2Config(**SIZES, n_embd=8, n_layer=2, n_head=2, n_inner=12, n_positions=32)
    ),
    "llama-untied": transformers.LlamaForCausalLM(transformers.LlamaConfig(**ROTARY, tie_word_embeddings=False)),
    "qwen3-tied": transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**ROTARY, tie_word_embeddings=True)),
}


def letters():
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(LETTERS)}, []))
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def make(name, model, tokenizer):
    torch.manual_seed(11)
    model = model.double().eval()
    model.set_attn_implementation("sdpa")
    with torch.no_grad():
        for parameter_name, p in model.named_parameters():
            is_scale = p.ndim == 1 and parameter_name.endswith("weight")
            p.normal_(1.0 if is_scale else 0.0, 0.2 if p.ndim == 1 else 0.4)
            p.copy_(p.float().double())
    folder = OUT / name
    copy.deepcopy(model).float().save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)

    rows = [tokenizer.encode(text).ids for text in TEXTS]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[int(i < len(row)) for i in range(longest)] for row in rows])
    result = model(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, -100))
    result.loss.backward()
    scores = torch.log_softmax(result.logits, -1)[:, :-1].gather(2, ids[:, 1:, None])[:, :, 0] * mask[:, 1:]
    start = torch.tensor([tokenizer.encode(START).ids])
    written = model.generate(start, attention_mask=torch.ones_like(start), max_new_tokens=12, do_sample=False, pad_token_id=0)
    tensors = {"logits": result.logits.detach() * mask[:, :, None]}
    tensors |= {f"gradient/{n}": p.grad for n, p in model.named_parameters()}
    save_file({n: t.float().contiguous() for n, t in tensors.items()}, folder / "golden.safetensors")
    golden = dict(
        texts=TEXTS,
        ids=rows,
        logLikelihoods=scores.sum(1).tolist(),
        loss=result.loss.item(),
        start=START,
        written=tokenizer.decode(written[0].tolist()),
    )
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")
    print(name, golden["loss"], golden["written"])


for name, model in CASES.items():
    make(name, model, letters())
