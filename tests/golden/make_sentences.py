"""Writes sentences.safetensors, the embeddings of texts by a random BERT.

Requires torch, transformers, tokenizers and safetensors:
`python tests/golden/make_sentences.py`. The poolings are those of
sentence-transformers, written out. The metadata contains the files of the
published folder and the texts.
"""

import json
from pathlib import Path

import torch
import transformers
from make_encoders import randomize
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing

MAX_LENGTH = 9
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = ("the", "river", "runs", "cold", "##er", "##s", "and", "deep", ".", "a")
TEXTS = (
  "the river runs",
  "A colder, deeper river and the cold runs .",
  "and",
  "The  RIVERS",
  "a b c d e f g h i j",
)
CONFIG = {
  "vocab_size": len(SPECIAL) + len(WORDS),
  "hidden_size": 24,
  "num_hidden_layers": 2,
  "num_attention_heads": 3,
  "intermediate_size": 20,
  "max_position_embeddings": 11,
}


def make() -> None:
  """Writes the weights of the model and the embeddings of every pooling."""
  torch.manual_seed(0)
  config = transformers.BertConfig(**CONFIG, attn_implementation="eager")
  model = transformers.BertModel(config, add_pooling_layer=False).eval()
  config.architectures = ["BertModel"]
  weights = dict(model.named_parameters())
  randomize(weights)
  tokenizer = make_tokenizer()
  arrays = {f"weight/{name}": value for name, value in weights.items()}
  with torch.no_grad():
    arrays |= embeddings(model, tokenizer)
  metadata = {
    "config": config.to_json_string(),
    "tokenizer": tokenizer.to_str(),
    "texts": json.dumps(TEXTS),
    "max_length": str(MAX_LENGTH),
  }
  path = Path(__file__).with_name("sentences.safetensors")
  tensors = {k: v.detach().clone().contiguous() for k, v in arrays.items()}
  save_file(tensors, path, metadata)
  print(f"{path.stat().st_size:>8,} bytes  {path.name}")


def make_tokenizer() -> Tokenizer:
  """Returns a WordPiece tokenizer in lower case, as BERT's."""
  vocabulary = {token: i for i, token in enumerate((*SPECIAL, *WORDS))}
  piece = models.WordPiece(vocabulary, unk_token="[UNK]")
  tokenizer = Tokenizer(piece)
  tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
  tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
  tokenizer.post_processor = TemplateProcessing(
    single="[CLS] $A [SEP]",
    pair="[CLS] $A [SEP] $B:1 [SEP]:1",
    special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
  )
  return tokenizer


def embeddings(model, tokenizer: Tokenizer) -> dict[str, torch.Tensor]:
  """Returns the embeddings of the texts by pooling, and normalized ones."""
  tokenizer.enable_truncation(MAX_LENGTH)
  tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
  rows = tokenizer.encode_batch(list(TEXTS))
  tokenizer.no_truncation()
  tokenizer.no_padding()
  mask = torch.tensor([row.attention_mask for row in rows])
  ids = torch.tensor([row.ids for row in rows])
  tokens = model(input_ids=ids, attention_mask=mask).last_hidden_state
  kept = mask[..., None].float()
  total, count = (tokens * kept).sum(1), kept.sum(1)
  pooled = {
    "cls": tokens[:, 0],
    "max": tokens.masked_fill(kept == 0, -torch.inf).max(1).values,
    "mean": total / count,
    "mean_sqrt_len": total / count.sqrt(),
  }
  unit = torch.nn.functional.normalize(pooled["mean"], dim=1)
  named = {**pooled, "normalized": unit}
  return {f"output/{name}": value for name, value in named.items()}


if __name__ == "__main__":
  make()
