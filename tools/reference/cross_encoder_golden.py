"""Writes tiny random cross-encoders of each architecture, and the scores that sentence-transformers computes for pairs of texts.

Run from the repository root:  python tools/reference/cross_encoder_golden.py
(needs: torch, transformers, sentence-transformers, tokenizers, safetensors)

src/models/cross-encoder/fixtures/
    <base>/       tiny random model as `CrossEncoder.save_pretrained` writes it
    cases.json    pairs of texts; for each case its base, the JSON files that differ (null: the file is absent), and the scores

A case is an entry in CASES. Undrift must give the same scores, after saving the model too.
"""

import json
import pathlib
import shutil
import tempfile

import numpy
import torch
import transformers
from architecture_golden import BERT_WORDS, MPNET_WORDS, SIZES, VOCABULARY, byte_bpe, unigram
from sentence_transformers import CrossEncoder
from tokenizers import processors

OUT = pathlib.Path("src/models/cross-encoder/fixtures")
LONG = "the cat sat on the mat, a red house and a green tree. "
PAIRS = [
    ["The cat sat on the mat.", "dog"],
    ["dog", "The cat sat on the mat."],
    ["A red house, a green tree?", "running dogs see the mat"],
    ["", "the cat"],
    ["  the cat ", " sat "],
    ["the cat", LONG * 3],
    [LONG * 3, "the cat"],
    [LONG * 2, LONG * 3],
    [LONG * 3, LONG * 2],
    [LONG + "the", LONG],
]


def pair(tokenizer, cls, sep, template):
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=template,
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (cls, sep)],
    )
    return tokenizer


def words():
    return pair(BERT_WORDS(), "[CLS]", "[SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")


#: Positions of MPNet and RoBERTa begin at 2, and Python does not know: pairs have at most 61 tokens.
LONGER = dict(SIZES, max_position_embeddings=64, initializer_range=0.4, num_labels=1)
#: name → class of the model, its configuration, its tokenizer with the class of transformers
BASES = {
    "bert": (transformers.BertForSequenceClassification, LONGER, words, "BertTokenizer"),
    "distilbert": (
        transformers.DistilBertForSequenceClassification,
        dict(
            **dict(vocab_size=VOCABULARY, dim=8, n_layers=2, n_heads=2, hidden_dim=12, max_position_embeddings=64),
            **dict(initializer_range=0.4, num_labels=1),
        ),
        words,
        "DistilBertTokenizer",
    ),
    "mpnet": (transformers.MPNetForSequenceClassification, LONGER, MPNET_WORDS, "MPNetTokenizer"),
    "roberta": (
        transformers.RobertaForSequenceClassification,
        dict(LONGER, max_position_embeddings=66, type_vocab_size=1),
        byte_bpe,
        "RobertaTokenizer",
    ),
    "xlm-roberta": (
        transformers.XLMRobertaForSequenceClassification,
        dict(LONGER, max_position_embeddings=66, type_vocab_size=1),
        lambda: pair(unigram(), "<s>", "</s>", "<s> $A </s> </s> $B </s>"),
        "PreTrainedTokenizerFast",
    ),
    "modernbert": (
        transformers.ModernBertForSequenceClassification,
        dict(
            **{name: value for name, value in LONGER.items() if name != "initializer_range"},
            **dict(num_hidden_layers_=3, local_attention=4, pad_token_id=0, classifier_pooling="mean", classifier_bias=True),
        ),
        words,
        "PreTrainedTokenizerFast",
    ),
}

SIGMOID, IDENTITY = "torch.nn.modules.activation.Sigmoid", "torch.nn.modules.linear.Identity"
NO_MODULES = {"modules.json": None, "sentence_bert_config.json": None, "config_sentence_transformers.json": None}
MODULE = {"transformer_task": "sequence-classification", "module_output_name": "scores"}

#: name → base, and fields that replace those of its files; a file of `NO_MODULES` that is null is absent
CASES = {
    **{base: (base, {}) for base in BASES},
    "identity": ("bert", {"config_sentence_transformers.json": {"activation_fn": IDENTITY}}),
    "version 4": (
        "bert",
        {**NO_MODULES, "config.json": {"sentence_transformers": {"activation_fn": IDENTITY, "version": "4.1.0"}}},
    ),
    "version 3": ("bert", {**NO_MODULES, "config.json": {"sbert_ce_default_activation_function": IDENTITY}}),
    "no activation": ("bert", {**NO_MODULES}),
    "12 tokens": ("bert", {"sentence_bert_config.json": {"max_seq_length": 12}}),
    "13 tokens": ("bert", {"tokenizer_config.json": {"model_max_length": 13}}),
    "14 tokens of RoBERTa": ("roberta", {"tokenizer_config.json": {"model_max_length": 14}}),
    "cut at the start": (
        "bert",
        {"tokenizer_config.json": {"model_max_length": 13, "truncation_side": "left"}},
    ),
    "without token types": ("bert", {"tokenizer_config.json": {"model_input_names": ["input_ids", "attention_mask"]}}),
    "class without token types": ("bert", {"tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"}}),
    "no class": ("bert", {**NO_MODULES, "tokenizer_config.json": {"tokenizer_class": None}}),
    "lower case": ("xlm-roberta", {"sentence_bert_config.json": {"do_lower_case": True}}),
}


def make(base):
    cls, config, tokenizer, tokenizer_class = BASES[base]
    torch.manual_seed(sum(map(ord, base)))
    config = dict(config)
    if "num_hidden_layers_" in config:
        config["num_hidden_layers"] = config.pop("num_hidden_layers_")
    model = cls(cls.config_class(**config))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tok = tokenizer()
        special = dict(zip(("bos_token", "eos_token", "cls_token", "sep_token"), ("<s>", "</s>", "<s>", "</s>")))
        if tok.token_to_id("[CLS]") is not None:
            special = dict(cls_token="[CLS]", sep_token="[SEP]")
        for role, names in dict(pad_token=("[PAD]", "<pad>"), unk_token=("[UNK]", "<unk>"), mask_token=("[MASK]", "<mask>")).items():
            special[role] = next(name for name in names if tok.token_to_id(name) is not None)
        transformers.PreTrainedTokenizerFast(tokenizer_object=tok, **special).save_pretrained(folder)
        path = pathlib.Path(folder, "tokenizer_config.json")
        path.write_text(json.dumps({**json.loads(path.read_text()), "tokenizer_class": tokenizer_class, "model_max_length": 61}))
        CrossEncoder(folder).save_pretrained(str(OUT / base))
    (OUT / base / "README.md").unlink()


def scores(base, files):
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(OUT / base, folder, dirs_exist_ok=True)
        changed = {}
        for name, fields in files.items():
            path = pathlib.Path(folder, name)
            if fields is None:
                path.unlink()
                changed[name] = None
                continue
            content = {**json.loads(path.read_text()), **fields}
            changed[name] = {key: value for key, value in content.items() if value is not None}
            path.write_text(json.dumps(changed[name]))
        found = CrossEncoder(folder).predict(PAIRS)
        return dict(base=base, files=changed, scores=[float(f"{score:.8g}") for score in found])


if __name__ == "__main__":
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    for base in BASES:
        make(base)
    cases = {name: scores(*case) for name, case in CASES.items()}
    for name, case in cases.items():
        print(f"{name:28}", numpy.round(case["scores"], 4))
    (OUT / "cases.json").write_text(json.dumps(dict(pairs=PAIRS, cases=cases), indent=1) + "\n")
