"""Writes a tiny random BERT as Hugging Face's transformers saves it, for src/models/model-folder.test.ts.

Run from the repository root:  python tools/reference/bert_golden.py     (needs: torch, transformers, tokenizers, safetensors)

src/models/fixtures/bert/    config.json, model.safetensors (with the pooler that we ignore), tokenizer.json
    golden.json              texts, the token ids of each, and the shape of the batch
    golden.safetensors       the padded batch and what transformers computes for it: last_hidden_state, and the last
                             hidden states for token types that are not all zero
"""

import json
import pathlib

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

out = pathlib.Path("src/models/fixtures/bert")
out.mkdir(parents=True, exist_ok=True)

special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
letters = list("abcdefghijklmnopqrstuvwxyz")
pieces = ["##" + letter for letter in "aeiourstn"]
words = "the cat dog sat on mat a1 . , ? house tree red blue green run runs ##ning see saw".split()
vocab = {token: i for i, token in enumerate(special + letters + pieces + words)}
assert len(vocab) == 60, len(vocab)

tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
tokenizer.add_special_tokens(special)
tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
tokenizer.post_processor = processors.TemplateProcessing(
    single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
)
tokenizer.save(str(out / "tokenizer.json"))

torch.manual_seed(7)
config = BertConfig(
    vocab_size=60,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=24,
    max_position_embeddings=24,
    type_vocab_size=2,
)
model = BertModel(config).eval()
with torch.no_grad():
    for parameter in model.parameters():  # norms and biases too: ones and zeros would hide a mistake
        parameter.add_(0.3 * torch.randn_like(parameter))
model.save_pretrained(out)

texts = ["The cat sat on the mat.", "dog", "A red house, a green tree? See!", "Running dogs"]
tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
encodings = tokenizer.encode_batch(texts)
ids = torch.tensor([e.ids for e in encodings])
mask = torch.tensor([e.attention_mask for e in encodings])
types = (torch.arange(ids.shape[1])[None, :] > 3).long().expand_as(ids).contiguous()
with torch.no_grad():
    hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
    typed = model(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state
save_file(
    {
        "input_ids": ids,
        "attention_mask": mask,
        "token_type_ids": types,
        "last_hidden_state": hidden,
        "last_hidden_state_typed": typed,
    },
    out / "golden.safetensors",
    metadata={"format": "pt"},
)
tokens = [[i for i, m in zip(e.ids, e.attention_mask) if m] for e in encodings]
(out / "golden.json").write_text(json.dumps({"texts": texts, "ids": tokens}) + "\n")
