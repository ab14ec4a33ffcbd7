"""Writes model folders with settings of sentence-transformers that decide on vectors, and the vectors that it computes.

Run from the repository root:  python tools/reference/st_folders_golden.py
(needs: torch, transformers, sentence-transformers, tokenizers, safetensors)

src/models/folder/fixtures/sentence-transformers/
    bert/, static/, model2vec/   tiny random models: weights, tokenizer and the files that cases share
    cases.json                   for each case its base, its JSON files, texts, and the vectors of both sides; `scaled` if lengths
                                 of vectors count, else only directions do

A case is an entry in CASES. Undrift must give the same vectors, after saving the model too.
"""

import json
import pathlib
import shutil
import tempfile

import numpy
import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

OUT = pathlib.Path("src/models/folder/fixtures/sentence-transformers")
WORDS = "the cat sat on mat river water Cat The search query Paris a of".split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXTS = ["the cat sat on the mat", "The Cat", "river water", "a", "[CLS] Paris", "of the river " * 9]
TYPES = "sentence_transformers.models."
QUERY = "search query the "
SIDES = ("query", "document")


def tokenizer():
    tok = Tokenizer(models.WordPiece({word: i for i, word in enumerate(SPECIAL + WORDS)}, unk_token="[UNK]"))
    tok.normalizer = normalizers.BertNormalizer(lowercase=False)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tok.add_special_tokens(SPECIAL)
    tok.add_tokens([AddedToken("Paris", normalized=False)])
    return tok


def write(folder, files):
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith(".safetensors"):
            save_file(content, folder / path)
        else:
            (folder / path).write_text(json.dumps(content, indent=1) + "\n")


def bases():
    generator = torch.Generator().manual_seed(3)
    draw = lambda *shape: torch.randn(shape, generator=generator)
    config = BertConfig(
        vocab_size=len(SPECIAL + WORDS),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=24,
    )
    model = BertModel(config, add_pooling_layer=False)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(draw(*p.shape) * 0.4 + (1.0 if p.ndim == 1 and name.endswith("weight") else 0.0))
    for name in ("bert", "static", "model2vec"):
        (OUT / name).mkdir(parents=True)
        tokenizer().save(str(OUT / name / "tokenizer.json"))
    model.save_pretrained(OUT / "bert")
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL))
    dense = {
        "dense-a/model.safetensors": {"linear.weight": draw(6, 8), "linear.bias": draw(6)},
        "dense-b/model.safetensors": {"linear.weight": draw(5, 6), "residual.weight": draw(5, 6)},
    }
    write(OUT / "bert", {"tokenizer_config.json": dict(tokenizer_class="PreTrainedTokenizerFast", model_max_length=20, **names)} | dense)
    table = draw(len(SPECIAL + WORDS), 8)
    write(OUT / "static", {"model.safetensors": {"embedding.weight": table}} | dense)
    compressed = {
        "embeddings": table[: len(table) // 2 + 1].contiguous(),
        "mapping": torch.tensor([i // 2 for i in range(len(table))]),
        "weights": torch.linspace(0.5, 2, len(table), dtype=torch.float64),
    }
    write(OUT / "model2vec", {"model.safetensors": compressed})


def modules(*types):
    """modules.json of a list of classes, each with its folder after a colon."""
    split = [entry.partition(":") for entry in types]
    return {"modules.json": [dict(idx=i, name=str(i), path=path, type=TYPES + kind) for i, (kind, _, path) in enumerate(split)]}


def bert(*after, pooling="mean", prompts=None, default=None, similarity="cosine", settings=None, name="bert", **pool):
    """Files of a Transformer with a Pooling and further modules."""
    last = after or ("Normalize:2_Normalize",)
    return {
        **modules("Transformer:", "Pooling:1_Pooling", *last),
        f"sentence_{name}_config.json": {"max_seq_length": 16} if settings is None else settings,
        "1_Pooling/config.json": {"embedding_dimension": 8, "pooling_mode": pooling, **pool},
        "config_sentence_transformers.json": dict(
            prompts=prompts or {}, default_prompt_name=default, similarity_fn_name=similarity
        ),
    }


def dense(folder, inputs, outputs, activation, bias=True, **more):
    path = "linear.Identity" if activation == "Identity" else f"activation.{activation}"
    return {
        f"{folder}/config.json": dict(
            in_features=inputs, out_features=outputs, bias=bias, activation_function=f"torch.nn.modules.{path}", **more
        )
    }


def static(*after, **files):
    return modules("StaticEmbedding:", *after) | files


def cut(length):
    tok = tokenizer()
    tok.enable_truncation(length)
    return {"tokenizer.json": json.loads(tok.to_str())}


POOLINGS = ["mean", "cls", "lasttoken", "max", "weightedmean", "mean_sqrt_len_tokens"]
ACTIVATIONS = (
    "Identity Tanh ReLU ReLU6 LeakyReLU RReLU ELU CELU SELU GELU SiLU Mish Sigmoid LogSigmoid Softplus Softsign "
    "Tanhshrink Softshrink Hardshrink Hardtanh Hardsigmoid Hardswish Softmax Softmin LogSoftmax"
).split()


def cases():
    names = ["roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"]
    prompted = dict(prompts={"query": QUERY, "document": ""})
    return {
        **{f"length-{name}": ("bert", bert(name=name, settings={"max_seq_length": 6})) for name in names},
        "length-tokenizer-args": (
            "bert",
            bert(settings={"max_seq_length": 12, "tokenizer_args": {"model_max_length": 6}}),
        ),
        "length-left": (
            "bert",
            bert(settings={"tokenizer_args": {"model_max_length": 6, "truncation_side": "left"}}),
        ),
        "length-none": ("bert", bert(settings={"max_seq_length": None})),
        "length-sides": ("bert", bert(settings={"query_length": 5, "document_length": 9})),
        "length-call": ("bert", bert(settings={"max_seq_length": 12, "processing_kwargs": {"text": {"max_length": 5}}})),
        "config-args": ("bert", bert(settings={"config_args": {"hidden_act": "relu"}, "model_args": {"torch_dtype": "float32"}})),
        "lower-case": ("bert", bert(settings={"max_seq_length": 16, "do_lower_case": True})),
        **{f"prompt-{mode}": ("bert", bert(pooling=mode, include_prompt=False, **prompted)) for mode in POOLINGS},
        "prompt-long": ("bert", bert(settings={"max_seq_length": 4}, include_prompt=False, **prompted)),
        "prompt-left": (
            "bert",
            bert(settings={"max_seq_length": 9, "processor_kwargs": {"truncation_side": "left"}}, include_prompt=False, **prompted),
        ),
        "prompt-default": ("bert", bert(prompts={"query": QUERY}, default="query")),
        "prompt-other": ("bert", bert(prompts={"retrieval": QUERY}, default="retrieval")),
        **{
            f"dense-{name}": (
                "bert",
                bert("Dense:dense-a", similarity="dot") | dense("dense-a", 8, 6, name),
            )
            for name in ACTIVATIONS
        },
        "dense-two": (
            "bert",
            bert("Dense:dense-a", "Normalize:n", "Dense:dense-b", "Normalize:m")
            | dense("dense-a", 8, 6, "Tanh")
            | dense("dense-b", 6, 5, "GELU", bias=False, use_residual=True),
        ),
        "euclidean": ("bert", bert(similarity="euclidean")),
        "static-whole": ("static", static()),
        "static-cut": ("static", static() | cut(5)),
        "static-dense": (
            "static",
            static("Dense:dense-a", "Normalize:n") | dense("dense-a", 8, 6, "Tanh"),
        ),
        "model2vec": ("model2vec", static("Normalize:n")),
        "model2vec-bare": ("model2vec", {"config.json": dict(model_type="model2vec", normalize=True)}),
    }


def load(folder):
    if (folder / "modules.json").exists():
        return SentenceTransformer(str(folder), device="cpu")
    return SentenceTransformer(modules=[StaticEmbedding.load(str(folder))], device="cpu")


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    bases()
    golden = {}
    for name, (base, files) in cases().items():
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary) / "model"
            shutil.copytree(OUT / base, folder)
            write(folder, files)
            model = load(folder)
            texts = TEXTS if base == "bert" else TEXTS + ["cat sat " * 300]
            similarity = files.get("config_sentence_transformers.json", {}).get("similarity_fn_name", "cosine")
            found = {}
            for side in SIDES:
                encode = model.encode_query if side == "query" else model.encode_document
                vectors = numpy.asarray(encode(texts, batch_size=2, show_progress_bar=False), dtype=numpy.float64)
                assert numpy.isfinite(vectors).all(), name
                found[side] = [[round(x, 7) for x in row] for row in vectors.tolist()]
        golden[name] = dict(base=base, files=files, texts=texts, scaled=similarity == "dot", **found)
        print(name)
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(case)}" for name, case in golden.items())
    (OUT / "cases.json").write_text(f"{{\n{lines}\n}}\n")
    for file in OUT.rglob("*"):
        if file.is_file():
            file.chmod(0o644)


main()
