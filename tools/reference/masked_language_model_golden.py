"""Writes tiny random masked language models of each architecture, what transformers computes with them, and the losses of REALM.

Run from the repository root:  python tools/reference/masked_language_model_golden.py
(needs: torch, transformers, tokenizers, safetensors)

src/models/masked/fixtures/
    <base>/       tiny random model as `save_pretrained` writes it
    cases.json    prompts, and for each base their tokens, segments, places of masks and tokens of the answers, the log-probabilities of
                  these, and the logits of the first mask of the first prompt
src/methods/joint/fixtures/masked.json
    queries       queries with the answer, and candidates: a passage, null for the null passage, absent for none
    scores        scores of the retriever, divided by its temperature
    losses        for the sequence and the token marginal: the loss, its gradient to the scores, and to some parameters of the reader

PyTorch computes in float64, one prompt at a time. Passages are read after the query, as the second text of a pair.
"""

import json
import pathlib
import re

import torch
import transformers
from cross_encoder_golden import BASES, MPNET_WORDS, pair, unigram, words
from architecture_golden import byte_bpe

OUT = pathlib.Path("src/models/masked/fixtures")
BLANK = "___"
PROMPTS = [
    dict(query="the ___ sat on the mat.", answer="cat", passage="the cat sat. a red house"),
    dict(query="the cat sat on the ___.", answer="running dog", passage=None),
    dict(query="___ sat on the mat", answer="the dog", passage="the dog sat on a house and a tree, see?"),
    dict(query="see the red", answer="house", passage="a red house"),
    dict(query="a dog saw a (___)", answer="cat!", passage="."),
]
#: name → class, configuration, tokenizer; sizes and tokenizers are those of the cross-encoders
CLASSES = {
    "bert": (transformers.BertForMaskedLM, words, dict(hidden_act="gelu_new")),
    "distilbert": (transformers.DistilBertForMaskedLM, words, {}),
    "mpnet": (transformers.MPNetForMaskedLM, lambda: pair(MPNET_WORDS(), "<s>", "</s>", "<s> $A </s> </s> $B </s>"), {}),
    "roberta": (transformers.RobertaForMaskedLM, byte_bpe, dict(hidden_act="silu")),
    "xlm-roberta": (
        transformers.XLMRobertaForMaskedLM,
        lambda: pair(unigram(), "<s>", "</s>", "<s> $A </s> </s> $B </s>"),
        dict(tie_word_embeddings=False),
    ),
    "modernbert": (transformers.ModernBertForMaskedLM, words, dict(norm_bias=True)),
}


def special_tokens(tok):
    special = dict(zip(("bos_token", "eos_token", "cls_token", "sep_token"), ("<s>", "</s>", "<s>", "</s>")))
    if tok.token_to_id("[CLS]") is not None:
        special = dict(cls_token="[CLS]", sep_token="[SEP]")
    for role, names in dict(pad_token=("[PAD]", "<pad>"), unk_token=("[UNK]", "<unk>"), mask_token=("[MASK]", "<mask>")).items():
        special[role] = next(name for name in names if tok.token_to_id(name) is not None)
    return special


def make(base):
    cls, tokenizer, more = CLASSES[base]
    torch.manual_seed(sum(map(ord, base)))
    config = {**BASES[base][1], **more}
    config.pop("num_labels", None)
    if "num_hidden_layers_" in config:
        config["num_hidden_layers"] = config.pop("num_hidden_layers_")
    model = cls(cls.config_class(**config))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    folder = OUT / base
    model.save_pretrained(folder)
    tok = tokenizer()
    tokens = transformers.PreTrainedTokenizerFast(tokenizer_object=tok, model_max_length=61, **special_tokens(tok))
    tokens.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    return model.double().eval(), tokens


def laid(tokens, prompt):
    """Tokens of a prompt: a query, whose answer has a mask for each token in the place of the blank or at the end, and a passage."""
    query = prompt["query"] if BLANK in prompt["query"] else prompt["query"] + " " + BLANK
    before, after = query.split(BLANK)
    space = re.search(r"\s*$", before).group(0)
    answer = tokens(space + prompt["answer"], add_special_tokens=False)["input_ids"]
    text = before + tokens.mask_token * len(answer) + after
    texts = [text] if prompt["passage"] is None else [text, prompt["passage"]]
    found = tokens(*texts, return_token_type_ids=True)
    ids = found["input_ids"]
    places = [i for i, token in enumerate(ids) if token == tokens.mask_token_id]
    assert len(places) == len(answer), (prompt, ids)
    return dict(ids=ids, types=found["token_type_ids"], places=places, answer=answer)


def logits(model, sequence):
    more = {}
    if getattr(model.config, "type_vocab_size", 0) > 1 and model.config.model_type == "bert":
        more = dict(token_type_ids=torch.tensor([sequence["types"]]))
    return model(input_ids=torch.tensor([sequence["ids"]]), **more).logits[0]


def token_scores(model, sequence):
    found = torch.log_softmax(logits(model, sequence), -1)
    return found[sequence["places"], sequence["answer"]]


cases = {}
models = {base: make(base) for base in CLASSES}
for base, (model, tokens) in models.items():
    with torch.no_grad():
        found = []
        for prompt in PROMPTS:
            sequence = laid(tokens, prompt)
            found.append(dict(**sequence, logProbabilities=token_scores(model, sequence).tolist()))
        first = logits(model, found[0])[found[0]["places"][0]].tolist()
    cases[base] = dict(prompts=found, logits=first)
    print(base, [each["logProbabilities"] for each in found])
(OUT / "cases.json").write_text(json.dumps(dict(prompts=PROMPTS, cases=cases)) + "\n")

QUERIES = [
    dict(query="the ___ sat on the mat.", answer="running dog", candidates=["the dog sat", "a red house", None]),
    dict(query="see the ___", answer="cat", candidates=["the cat sat on a tree", "dog", None]),
]
PARAMETERS = [
    "bert.embeddings.word_embeddings.weight",
    "bert.encoder.layer.0.attention.self.query.weight",
    "cls.predictions.transform.dense.weight",
    "cls.predictions.transform.LayerNorm.bias",
    "cls.predictions.bias",
]
#: The second candidate of the second query is not there.
ABSENT = {(1, 1)}
torch.manual_seed(4)
SCORES = torch.randn(2, 3, dtype=torch.float64)
model, tokens = models["bert"]
losses = {}
for marginal in ("sequence", "token"):
    model.zero_grad()
    scores = SCORES.clone().requires_grad_()
    each = []
    for b, query in enumerate(QUERIES):
        there = [k for k in range(3) if (b, k) not in ABSENT]
        log_p = torch.log_softmax(scores[b, there], 0)
        read = [token_scores(model, laid(tokens, dict(query, passage=query["candidates"][k]))) for k in there]
        joint = log_p[:, None] + torch.stack(read)
        each.append(
            -torch.logsumexp(log_p + torch.stack(read).sum(1), 0)
            if marginal == "sequence"
            else -torch.logsumexp(joint, 0).sum()
        )
    loss = torch.stack(each).mean()
    loss.backward()
    named = dict(model.named_parameters())
    losses[marginal] = dict(
        loss=loss.item(),
        scores=scores.grad.tolist(),
        reader={name: named[name].grad.flatten().float().tolist() for name in PARAMETERS},
    )
    print(marginal, loss.item(), scores.grad.tolist())
path = pathlib.Path("src/methods/joint/fixtures/masked.json")
queries = [
    dict(query, candidates=[text for k, text in enumerate(query["candidates"])], absent=[k for k in range(3) if (b, k) in ABSENT])
    for b, query in enumerate(QUERIES)
]
rounded = json.loads(json.dumps(dict(queries=queries, scores=SCORES.tolist(), losses=losses)), parse_float=lambda x: float(f"{float(x):.8g}"))
path.write_text(json.dumps(rounded) + "\n")
