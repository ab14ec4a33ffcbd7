"""Golden values of the losses of Atlas for a Fusion-in-Decoder reader, straight from the formulas.

Run from the repository root:  python tools/reference/fusion_reader_golden.py     (needs: torch, transformers)

Reads the tiny T5 and the token ids in src/models/encoder-decoder/fixtures/t5-untied, and writes src/methods/joint/fixtures/fusion.json:

    queries      numbers of the inputs that are the candidates of each query (-1: there is none), and of its target
    scores       scores of the retriever, divided by its temperature
    temperature  of the reader's distribution Q
    readerLoss   mean of -log p over the tokens of all targets, given all candidates
    losses       for each way: what the reader says of each candidate (g), loss of the retriever, and its gradient to the scores

    pdist, loop, adist   KL(Q || P) with Q = softmax(g / temperature), P = softmax(scores), mean over the queries
    emdr2                -log sum_k P_k p(y | candidate k alone)

PyTorch computes in float64, one query and one candidate at a time.
"""

import json
import pathlib

import torch
import transformers
from transformers.modeling_outputs import BaseModelOutput

FOLDER = pathlib.Path("src/models/encoder-decoder/fixtures/t5-untied")
golden = json.loads((FOLDER / "golden.json").read_text())
model = transformers.T5ForConditionalGeneration.from_pretrained(FOLDER, attn_implementation="eager").double().eval()
QUERIES = [dict(candidates=[0, 2, 3], target=2), dict(candidates=[3, 1, -1], target=1)]
TEMPERATURE = 0.25
torch.manual_seed(3)
SCORES = torch.randn(2, 3, dtype=torch.float64)


@torch.no_grad()
def read(inputs, target):
    """Log-probabilities of a target given inputs, each encoded alone, and the attention to each of them."""
    states = torch.cat([model.encoder(input_ids=torch.tensor([ids])).last_hidden_state for ids in inputs], 1)
    result = model(
        encoder_outputs=BaseModelOutput(last_hidden_state=states), labels=torch.tensor([target]), output_attentions=True
    )
    tokens = torch.log_softmax(result.logits[0], -1)[range(len(target)), target]
    masses = []
    for block, attention in zip(model.decoder.block, result.cross_attentions):
        values = block.layer[1].EncDecAttention.v(states)[0].view(states.shape[1], model.config.num_heads, -1)
        for head in range(model.config.num_heads):
            norms = values[:, head].norm(dim=-1)
            masses.append(torch.stack([weights * norms for weights in attention[0, head]]).mean(0))
    parts = torch.stack(masses).mean(0).split([len(ids) for ids in inputs])
    return tokens, torch.stack([part.sum() for part in parts])


says = {way: [] for way in ("pdist", "loop", "adist", "emdr2")}
nats, count = 0.0, 0
for query in QUERIES:
    inputs = [golden["inputIds"][i] for i in query["candidates"] if i >= 0]
    target = golden["targetIds"][query["target"]]
    tokens, attention = read(inputs, target)
    nats, count = nats - tokens.sum().item(), count + len(target)
    alone = [read([ids], target)[0] for ids in inputs]
    others = [read(inputs[:i] + inputs[i + 1 :], target)[0] for i in range(len(inputs))]
    says["pdist"].append(torch.stack([each.mean() for each in alone]))
    says["loop"].append(torch.stack([-each.mean() for each in others]))
    says["adist"].append(attention)
    says["emdr2"].append(torch.stack([each.sum() for each in alone]))

losses = {}
for way, g in says.items():
    scores = SCORES.clone().requires_grad_()
    each = []
    for b, own in enumerate(g):
        log_p = torch.log_softmax(scores[b, : len(own)], 0)
        if way == "emdr2":
            each.append(-torch.logsumexp(log_p + own, 0))
        else:
            q = torch.softmax(own / TEMPERATURE, 0)
            each.append((q * (q.log() - log_p)).sum())
    loss = torch.stack(each).mean()
    loss.backward()
    losses[way] = dict(g=[own.tolist() for own in g], loss=loss.item(), gradient=scores.grad.tolist())

out = pathlib.Path("src/methods/joint/fixtures/fusion.json")
out.parent.mkdir(exist_ok=True)
out.write_text(
    json.dumps(dict(queries=QUERIES, scores=SCORES.tolist(), temperature=TEMPERATURE, readerLoss=nats / count, losses=losses))
    + "\n"
)
print(nats / count, {way: (each["loss"], each["g"]) for way, each in losses.items()})
