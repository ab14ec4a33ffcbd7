"""Writes a tiny random model of each architecture, saved by transformers, with its outputs and the result of training.

Run from the repository root:  python tools/reference/architecture_golden.py [name …]
(needs: torch, transformers, tokenizers, safetensors)

A new architecture is an entry in CASES. For src/models/architectures/architectures.test.ts:

src/models/architectures/fixtures/
    batches.json            settings of the training and token ids of three batches of texts, for every case
    <name>/config.json      as transformers writes it
    <name>/model.safetensors
    <name>/tokenizer.json   for some cases: words, byte-level BPE or Unigram, with the special tokens of the architecture
    <name>/golden.json      padding id, pooling, whether states use token types; loss and gradient norm of each of the three
                            steps; the loss of 50 steps that cycle through the same batches; if there is a tokenizer, texts
                            and their token ids
    <name>/golden.safetensors
        state/<i>           hidden states of the first batch's documents, padded: the input of the first layer and the output
                            of each layer; models with several token types use the types (column // 4) % 2
        embedding           pooled embeddings of the same texts, rows of unit length; token types all 0
        texts               pooled embeddings of the texts in golden.json
        gradient/<name>     gradient of the first step, before clipping
        trained/<name>      parameter after three steps

No dropout; softmax cross-entropy over the batch's documents with a temperature; AdamW with decoupled decay of
matrices, and clipping of the global norm. PyTorch computes in float64, so every difference that the test finds is Undrift's. Stored
values are float32.

Word rows: Undrift updates only the rows that a batch touches, while PyTorch decays all of them. So every batch has each of the
used tokens and the padding token. Their rows must agree, and all other rows of Undrift must be unchanged.
"""

import copy
import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch.nn.functional import cross_entropy, normalize

OUT = pathlib.Path("src/models/architectures/fixtures")
VOCABULARY, USED = 52, range(4, 44)
STEPS = 50
LENGTHS = {"query": [3, 5, 1, 4], "document": [10, 7, 12, 9]}
TRAINING = dict(temperature=0.1, learningRate=1e-3, weightDecay=0.01, maxGradientNorm=1.0)

#: Sizes under the names that most configurations have; every text of LENGTHS fits.
SIZES = dict(
    vocab_size=VOCABULARY,
    hidden_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=12,
    max_position_embeddings=16,
)
NO_POOLER = dict(add_pooling_layer=False)

TEXTS = ["The cat sat on the mat.", "dog", "A red house, a green tree? See!", "running dogs", ""]
LETTERS = list("abcdefghijklmnopqrstuvwxyz")


def around(tokenizer, cls, sep):
    """Returns a post-processor that puts special tokens, given as (name, id), around a text."""
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{cls[0]} $A {sep[0]}", special_tokens=[cls, sep])
    return tokenizer


def wordpiece(special, cls, sep):
    words = "the cat dog sat on mat . , ? house tree red green run see saw ##s ##n ##ning ##e a1".split()
    vocabulary = {token: i for i, token in enumerate(special + LETTERS + words)}
    assert len(vocabulary) == VOCABULARY
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.add_special_tokens(special)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return around(tokenizer, *((token, special.index(token)) for token in (cls, sep)))


def byte_bpe():
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    merges = "Ġ t,h e,Ġt he,Ġ s,a t,Ġ c,Ġs at,Ġ m,o g,d og,Ġ r,e e,Ġ d,Ġr e,u n,n i,ni n,nin g".split(",")
    merges = [tuple(merge.split()) for merge in merges]
    vocabulary = special + LETTERS + ["Ġ", "."] + ["".join(merge) for merge in merges]
    vocabulary += [f"unused{i}" for i in range(VOCABULARY - len(vocabulary))]
    vocabulary = {token: i for i, token in enumerate(vocabulary)}
    assert len(vocabulary) == VOCABULARY
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>"))
    tokenizer.add_special_tokens(special)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tokenizer


def unigram():
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = "▁ ▁the ▁a at ▁s . , ? house ▁tree red een un ning og ▁d ▁c ▁on ▁m".split()
    scores = [(token, 0.0) for token in special] + [(piece, -1.0 - len(pieces) / 40) for piece in pieces]
    scores += [(letter, -4.0 - i / 10) for i, letter in enumerate(LETTERS)]
    scores += [(token, -20.0) for token in ("unused0", "unused1")] + [("<mask>", 0.0)]
    assert len(scores) == VOCABULARY
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=3))
    tokenizer.add_special_tokens([*special, "<mask>"])
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return around(tokenizer, ("<s>", 0), ("</s>", 2))


BERT_WORDS = lambda: wordpiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], "[CLS]", "[SEP]")
MPNET_WORDS = lambda: wordpiece(["<s>", "<pad>", "</s>", "[UNK]", "<mask>"], "<s>", "</s>")

#: name of the folder → class of the model, fields of its configuration, and where they differ from the usual: `model`, arguments
#: of the class; `tokenizer`, what makes one, and more `texts` for it; `pooling`, mean if absent; `attention`, where the eager kind
#: takes the softmax in float32.
CASES = {
    "bert": dict(cls=transformers.BertModel, config=SIZES, model=NO_POOLER, tokenizer=BERT_WORDS),
    "bert-gelu-new": dict(
        cls=transformers.BertModel, config=dict(SIZES, hidden_act="gelu_new", type_vocab_size=1), model=NO_POOLER
    ),
    "distilbert": dict(
        cls=transformers.DistilBertModel,
        config=dict(
            vocab_size=VOCABULARY, dim=8, n_layers=2, n_heads=2, hidden_dim=12, max_position_embeddings=16, activation="relu"
        ),
        tokenizer=BERT_WORDS,
    ),
    "mpnet": dict(
        cls=transformers.MPNetModel,
        config=dict(SIZES, max_position_embeddings=102),
        model=NO_POOLER,
        tokenizer=MPNET_WORDS,
        texts=["the cat sat on the mat " * 16],  # distances for which there are no more buckets
    ),
    "roberta": dict(
        cls=transformers.RobertaModel,
        config=dict(SIZES, max_position_embeddings=34, type_vocab_size=1, hidden_act="quick_gelu"),
        model=NO_POOLER,
        tokenizer=byte_bpe,
        pooling="cls",
    ),
    "xlm-roberta": dict(
        cls=transformers.XLMRobertaModel,
        config=dict(SIZES, max_position_embeddings=34, type_vocab_size=1, hidden_act="silu"),
        model=NO_POOLER,
        tokenizer=unigram,
    ),
    # Texts are longer than the local window of two tokens on either side; the second of three layers is local.
    "modernbert": dict(
        cls=transformers.ModernBertModel,
        attention="sdpa",
        config=dict(
            SIZES,
            num_hidden_layers=3,
            layer_types=["full_attention", "sliding_attention", "full_attention"],
            local_attention=4,
            pad_token_id=0,
        ),
        pooling="cls",
    ),
    "gpt2": dict(
        cls=transformers.GPT2Model,
        attention="sdpa",
        config=dict(vocab_size=VOCABULARY, n_embd=8, n_layer=2, n_head=2, n_inner=12, n_positions=16),
        pooling="lasttoken",
    ),
    # One key head for both query heads; frequencies on all three branches of the scaling.
    "llama": dict(
        cls=transformers.LlamaModel,
        attention="sdpa",
        config=dict(
            SIZES,
            num_key_value_heads=1,
            head_dim=8,
            rope_parameters=dict(
                rope_type="llama3",
                rope_theta=100.0,
                factor=4.0,
                low_freq_factor=0.2,
                high_freq_factor=1.0,
                original_max_position_embeddings=8,
            ),
        ),
        pooling="lasttoken",
    ),
    "qwen2": dict(
        cls=transformers.Qwen2Model,
        attention="sdpa",
        config=dict(
            SIZES, num_key_value_heads=2, rope_parameters=dict(rope_type="linear", rope_theta=10_000.0, factor=2.0)
        ),
        pooling="lasttoken",
    ),
    # The size of a head is not the hidden size divided by the number of heads.
    "qwen3": dict(
        cls=transformers.Qwen3Model,
        attention="sdpa",
        config=dict(SIZES, num_attention_heads=4, num_key_value_heads=2, head_dim=4),
        pooling="lasttoken",
    ),
    # Texts are longer than the largest distance with a bucket of its own.
    "t5": dict(
        cls=transformers.T5EncoderModel,
        config=dict(
            vocab_size=VOCABULARY,
            d_model=8,
            d_kv=3,
            d_ff=12,
            num_layers=2,
            num_heads=2,
            relative_attention_num_buckets=8,
            relative_attention_max_distance=6,
            feed_forward_proj="gated-gelu",
        ),
    ),
    # Decoders that attend to the whole text.
    "gpt2-bidirectional": dict(
        cls=transformers.GPT2Model,
        attention="sdpa",
        config=dict(vocab_size=VOCABULARY, n_embd=8, n_layer=2, n_head=2, n_inner=12, n_positions=16, is_causal=False),
    ),
    "qwen3-bidirectional": dict(
        cls=transformers.Qwen3Model,
        attention="sdpa",
        config=dict(SIZES, num_attention_heads=4, num_key_value_heads=2, head_dim=4, is_causal=False),
    ),
}


def texts():
    """Draws token ids of three batches. Every used token occurs at least once in each batch."""
    total = sum(sum(lengths) for lengths in LENGTHS.values())
    steps = []
    for _ in range(3):
        rest = torch.randint(USED.start, USED.stop, (total - len(USED),))
        pool = torch.cat([torch.tensor(USED), rest])[torch.randperm(total)].tolist()
        steps.append({side: [[pool.pop() for _ in range(n)] for n in lengths] for side, lengths in LENGTHS.items()})
        assert not pool
    return steps


def make(name, case, steps):
    torch.manual_seed(7)
    config = case["cls"].config_class(**case["config"], attn_implementation=case.get("attention", "eager"))
    model = case["cls"](config, **case.get("model", {})).eval()  # eval: without dropout
    with torch.no_grad():
        # Larger than the usual 0.02, so that attention is far from uniform and every gradient is far from zero. Rounded to
        # float32, because that is what both sides start from.
        for parameter_name, p in model.named_parameters():
            is_scale = p.ndim == 1 and parameter_name.endswith("weight")
            p.normal_(1.0 if is_scale else 0.0, 0.2 if p.ndim == 1 else 0.3)
            p.copy_(p.float().double())
    copy.deepcopy(model).float().save_pretrained(OUT / name)
    names = dict(model.named_parameters())
    stored = lambda prefix, values: {f"{prefix}/{n}": v.detach().float().clone() for n, v in values.items()}
    pad = config.pad_token_id if config.pad_token_id is not None else 0
    pooling = case.get("pooling", "mean")

    def run(rows, types=False):
        longest = max(map(len, rows))
        ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[float(i < len(row)) for i in range(longest)] for row in rows])
        more = {"token_type_ids": (torch.arange(longest) // 4 % 2).expand_as(ids)} if types else {}
        result = model(input_ids=ids, attention_mask=mask, output_hidden_states=True, **more)
        return result.hidden_states, result.last_hidden_state, mask

    def embed(rows):
        _, hidden, mask = run(rows)
        if pooling == "mean":
            pooled = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        elif pooling == "cls":
            pooled = hidden[:, 0]
        elif pooling == "lasttoken":
            pooled = hidden[torch.arange(len(rows)), mask.sum(1).long() - 1]
        return normalize(pooled, dim=1)

    documents = steps[0]["document"]
    types = getattr(config, "type_vocab_size", 0) > 1
    states, last, _ = run(documents, types)
    assert len(states) == config.num_hidden_layers + 1
    states = (*states[:-1], last)  # ModernBERT's list ends before its final norm
    tensors = {f"state/{i}": state.detach().float().contiguous() for i, state in enumerate(states)}
    tensors["embedding"] = embed(documents).detach().float()

    with_texts = {}
    if "tokenizer" in case:
        tokenizer = case["tokenizer"]()
        tokenizer.save(str(OUT / name / "tokenizer.json"), pretty=False)
        texts = TEXTS + case.get("texts", [])
        rows = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
        with_texts = dict(texts=texts, ids=rows)
        tensors["texts"] = embed(rows).detach().float()

    decay, no_decay = ([p for p in names.values() if (p.ndim > 1) == matrix] for matrix in (True, False))
    optimizer = torch.optim.AdamW(
        [
            {"params": decay, "weight_decay": TRAINING["weightDecay"]},
            {"params": no_decay, "weight_decay": 0.0},
        ],
        lr=TRAINING["learningRate"],
    )
    measured, losses = [], []
    for number in range(STEPS):
        step = steps[number % len(steps)]
        queries, documents = (embed(step[side]) for side in ("query", "document"))
        loss = cross_entropy(queries @ documents.T / TRAINING["temperature"], torch.arange(len(queries)))
        optimizer.zero_grad()
        loss.backward()
        if number == 0:
            tensors |= stored("gradient", {n: p.grad for n, p in names.items()})
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), TRAINING["maxGradientNorm"])
        optimizer.step()
        losses.append(loss.item())
        if number < len(steps):
            measured.append({"loss": loss.item(), "gradientNorm": norm.item()})
        if number == len(steps) - 1:
            tensors |= stored("trained", names)
    save_file(tensors, OUT / name / "golden.safetensors")
    golden = dict(padId=pad, pooling=pooling, types=types, steps=measured, losses=losses, **with_texts)
    (OUT / name / "golden.json").write_text(json.dumps(golden) + "\n")
    for file in (OUT / name).iterdir():
        file.chmod(0o644)
    print(name, [(s["loss"], s["gradientNorm"]) for s in measured])
    for n in names:
        size = tensors[f"gradient/{n}"].norm().item()
        if size < 0.02:
            print(f"  small gradient: {n} {size:.2e}")


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(7)
    OUT.mkdir(parents=True, exist_ok=True)
    steps = texts()
    batches = dict(**TRAINING, vocabulary=VOCABULARY, used=[USED.start, USED.stop], steps=steps)
    (OUT / "batches.json").write_text(json.dumps(batches) + "\n")
    for name in sys.argv[1:] or CASES:
        make(name, CASES[name], steps)
