"""Writes tiny random encoder-decoders, saved by transformers, with their logits, loss, gradients and greedy outputs.

Run from the repository root:  python tools/reference/encoder_decoder_golden.py     (needs: torch, transformers, safetensors)

For src/models/encoder-decoder/:

src/models/encoder-decoder/fixtures/<name>/
    config.json, model.safetensors, tokenizer.json, tokenizer_config.json   a folder of transformers, with a Unigram tokenizer of T5
    golden.json          input and target texts with their token ids; the log-probabilities of the tokens of each target and the loss
                         over all; the greedy output of each input; for each pair of inputs that are read together as
                         Fusion-in-Decoder does, the log-probabilities of a target and the mass of attention on each input
    golden.safetensors
        logits           f32[texts, longest target, vocabulary], padded with zeros
        gradient/<name>  gradient of the loss, by the names in model.safetensors

src/nn/fixtures/distance-buckets.json: buckets of distances for several numbers of buckets

PyTorch computes in float64. Stored values are float32. transformers 5 ties the matrix of the logits to the table of tokens, unless the two
were given different values.
"""

import copy
import json
import pathlib
import string

import torch
import transformers
from safetensors.torch import save_file
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.t5.modeling_t5 import T5Attention

OUT = pathlib.Path("src/models/encoder-decoder/fixtures")
PIECES = "▁ ▁the ▁a at ▁s . , ? house ▁tree red een un ning og ▁d ▁c ▁on ▁m".split()
INPUTS = [
    "the red house, on a tree?",
    "dog",
    "a cat sat on the mat and the dog sat on a house, the red house on the green tree. " * 3,
    "<extra_id_0> running dogs, a mat",
]
TARGETS = ["a dog sat", "red.", "the cat on the mat, the dog on the tree", "green"]
VOCABULARY = 64
SIZES = dict(
    vocab_size=VOCABULARY,
    d_model=8,
    d_kv=3,
    d_ff=12,
    num_heads=2,
    decoder_start_token_id=0,
    dropout_rate=0.0,
)
CASES = {
    "t5-tied": dict(num_layers=2, num_decoder_layers=1, feed_forward_proj="relu"),
    # Fewer layers in the decoder than in the encoder: with more, generation of transformers 5.24 fails.
    "t5-untied": dict(
        num_layers=3,
        num_decoder_layers=2,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=20,
    ),
}


def tokenizer():
    scores = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    scores += [(piece, -1.0 - i / 40) for i, piece in enumerate(PIECES)]
    scores += [(letter, -4.0 - i / 10) for i, letter in enumerate(string.ascii_lowercase)]
    scores += [(f"<extra_id_{i}>", 0.0) for i in (2, 1, 0)]
    assert len(scores) <= VOCABULARY
    return transformers.T5Tokenizer(vocab=scores, extra_ids=3)


def padded(rows):
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[int(i < len(row)) for i in range(longest)] for row in rows])
    return ids, mask


def fused(model, inputs, target):
    """Log-probabilities of a target that reads several inputs, each encoded alone, and the attention to each of them."""
    states = torch.cat([model.encoder(input_ids=torch.tensor([ids])).last_hidden_state for ids in inputs], 1)
    result = model(
        encoder_outputs=BaseModelOutput(last_hidden_state=states),
        labels=torch.tensor([target]),
        output_attentions=True,
    )
    scores = torch.log_softmax(result.logits[0], -1)[range(len(target)), target]
    mass = []
    for layer, attention in enumerate(result.cross_attentions):
        values = model.decoder.block[layer].layer[1].EncDecAttention.v(states)
        norms = values.view(1, states.shape[1], model.config.num_heads, -1).norm(dim=-1).transpose(1, 2)
        mass.append((attention.mean(2) * norms).mean(1)[0])
    parts = torch.stack(mass).mean(0).split([len(ids) for ids in inputs])
    return scores.tolist(), [part.sum().item() for part in parts]


def make(name, fields, tokens):
    torch.manual_seed(13)
    config = transformers.T5Config(**SIZES, **fields, attn_implementation="eager")
    model = transformers.T5ForConditionalGeneration(config)
    if not config.scale_decoder_outputs:
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
    model = model.double().eval()
    with torch.no_grad():
        for parameter_name, p in model.named_parameters():
            p.normal_(1.0 if p.ndim == 1 else 0.0, 0.2 if p.ndim == 1 else 0.5)
            p.copy_(p.float().double())
    folder = OUT / name
    copy.deepcopy(model).float().save_pretrained(folder)
    tokens.save_pretrained(folder)

    inputs, targets = (tokens(texts).input_ids for texts in (INPUTS, TARGETS))
    ids, mask = padded(inputs)
    labels, label_mask = padded(targets)
    result = model(input_ids=ids, attention_mask=mask, labels=labels.masked_fill(label_mask == 0, -100))
    result.loss.backward()
    scores = torch.log_softmax(result.logits, -1).gather(2, labels[:, :, None])[:, :, 0]
    written = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=12, do_sample=False)
    pairs = [([0, 2], 0), ([3, 1], 2)]
    with torch.no_grad():
        together = [
            dict(zip(("inputs", "target", "logProbabilities", "attention"), (pair, target, *fused(model, [inputs[i] for i in pair], targets[target]))))
            for pair, target in pairs
        ]
    tensors = {"logits": result.logits.detach() * label_mask[:, :, None]}
    tensors |= {f"gradient/{n}": p.grad for n, p in model.named_parameters()}
    save_file({n: t.float().contiguous() for n, t in tensors.items()}, folder / "golden.safetensors")
    golden = dict(
        inputs=INPUTS,
        inputIds=inputs,
        targets=TARGETS,
        targetIds=targets,
        logProbabilities=[row[: len(target)].tolist() for row, target in zip(scores, targets)],
        loss=result.loss.item(),
        written=tokens.batch_decode(written, skip_special_tokens=True),
        together=together,
    )
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")
    for file in folder.iterdir():
        file.chmod(0o644)
    print(name, golden["loss"], golden["written"], together)


make_all = tokenizer()
for name, fields in CASES.items():
    make(name, fields, make_all)

cases = []
for bidirectional in (True, False):
    for buckets, longest in ((32, 128), (8, 20), (64, 512)):
        distances = torch.arange(-longest - 20, longest + 21)
        found = T5Attention._relative_position_bucket(distances, bidirectional, buckets, longest).tolist()
        cases.append(dict(bidirectional=bidirectional, buckets=buckets, maxDistance=longest, first=-longest - 20, found=found))
pathlib.Path("src/nn/fixtures/distance-buckets.json").write_text(json.dumps(cases) + "\n")
