"""Saves a tiny BERT with random weights by transformers.  tiny_bert.py FOLDER   (reads FOLDER/texts.json, writes FOLDER/model)"""

import json
import pathlib
import sys

import torch
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertModel, BertTokenizerFast

folder = pathlib.Path(sys.argv[1])
texts = json.loads((folder / "texts.json").read_text())
trainer = BertWordPieceTokenizer(lowercase=True)
trainer.train_from_iterator(texts, vocab_size=2000, show_progress=False)
tokenizer = BertTokenizerFast(tokenizer_object=trainer._tokenizer, model_max_length=128)
torch.manual_seed(1)
config = BertConfig(
    vocab_size=len(tokenizer),
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=256,
    max_position_embeddings=128,
    hidden_dropout_prob=0,
    attention_probs_dropout_prob=0,
)
BertModel(config).save_pretrained(folder / "model")
tokenizer.save_pretrained(folder / "model")
print("bench-result {}")
