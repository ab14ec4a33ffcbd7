"""Writes values and gradients of sentence-transformers' losses, for src/losses/golden.test.ts.

Run from the repository root:  python tools/reference/losses_golden.py     (needs: torch, sentence-transformers 6)

src/losses/fixtures/golden.json    input embeddings (not necessarily of unit length), labels, and for each loss its options, its value
                                   and its gradient with respect to each of the embeddings

The "model" returns its input embeddings, so that only the losses are compared.
"""

import json
import pathlib

import torch
from torch import nn
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.util import pairwise_cos_sim, pairwise_dot_score

B, K, D, GUIDE_D = 5, 3, 8, 6


class HandOn(nn.Module):
    """Model that returns its input as embeddings."""

    def __init__(self, dimension):
        super().__init__()
        self.dimension = dimension

    def forward(self, features, **_):
        return {**features, "sentence_embedding": features["input_embedding"]}

    def __getitem__(self, _):
        return self

    def get_embedding_dimension(self):
        return self.dimension


def round_trip(tensor):
    """Makes values that survive formatting with 6 digits."""
    return torch.tensor([float(f"{x:.6g}") for x in tensor.flatten().tolist()]).reshape(tensor.shape)


torch.manual_seed(11)
anchors = round_trip(torch.randn(B, D))
positives = round_trip(anchors + 0.8 * torch.randn(B, D))
negatives = [round_trip(torch.randn(B, D)) for _ in range(K)]
guide_anchors = round_trip(torch.randn(B, GUIDE_D))
guide_positives = round_trip(guide_anchors + 1.2 * torch.randn(B, GUIDE_D))
guide_negatives = round_trip(torch.randn(B, GUIDE_D))
teacher = round_trip(torch.cat([3 + torch.randn(B, 1), torch.randn(B, K)], dim=1))
labels = torch.tensor([0.9, 0.1, 0.5, 0.5, 0.25])  # with a tie

model = HandOn(D)
record = []


def take(name, loss, columns, wanted=None, cached=False, **options):
    """Computes value and gradients of a loss over columns of embeddings."""
    leaves = {key: value.clone().requires_grad_() for key, value in columns.items()}
    features = [{"input_embedding": leaf} for leaf in leaves.values()]
    value = loss(features, wanted)
    value.backward()
    record.append(
        {
            "loss": name,
            "options": options,
            "columns": list(columns),
            "value": value.item(),
            "gradients": {key: leaf.grad.flatten().tolist() for key, leaf in leaves.items()},
        }
    )


pair = {"anchors": anchors, "positives": positives}
triple = {**pair, "negatives0": negatives[0]}
every = {**pair, **{f"negatives{i}": negative for i, negative in enumerate(negatives)}}

mnrl = losses.MultipleNegativesRankingLoss
take("MultipleNegativesRankingLoss", mnrl(model, scale=20.0), pair, scale=20.0)
take("MultipleNegativesRankingLoss", mnrl(model, scale=5.0), every, scale=5.0)
cached = losses.CachedMultipleNegativesRankingLoss(model, scale=5.0, mini_batch_size=2)
take("CachedMultipleNegativesRankingLoss", cached, every, scale=5.0)
symmetric = losses.MultipleNegativesSymmetricRankingLoss(model, scale=5.0)
take("MultipleNegativesSymmetricRankingLoss", symmetric, pair, scale=5.0)
take("MultipleNegativesSymmetricRankingLoss", symmetric, every, scale=5.0)

for metric, margin in (("COSINE", 0.5), ("EUCLIDEAN", 1.0)):
    distance = getattr(losses.TripletDistanceMetric, metric)
    loss = losses.TripletLoss(model, distance_metric=distance, triplet_margin=margin)
    take("TripletLoss", loss, triple, distance=metric.lower(), margin=margin)

take("MarginMSELoss", losses.MarginMSELoss(model, similarity_fct=pairwise_dot_score), every, teacher)
take(
    "DistillKLDivLoss",
    losses.DistillKLDivLoss(
        model, similarity_fct=pairwise_cos_sim, student_temperature=0.25, teacher_temperature=2.0
    ),
    every,
    teacher,
    studentTemperature=0.25,
    teacherTemperature=2.0,
)

take("CosineSimilarityLoss", losses.CosineSimilarityLoss(model), pair, labels)
take("CoSENTLoss", losses.CoSENTLoss(model, scale=4.0), pair, labels, scale=4.0)
take("AnglELoss", losses.AnglELoss(model, scale=4.0), pair, labels, scale=4.0)
odd = {key: value[:, : D - 1].contiguous() for key, value in pair.items()}
take("AnglELoss", losses.AnglELoss(HandOn(D - 1), scale=4.0), odd, labels, scale=4.0, odd=True)


def gist(columns, guides, **options):
    """GISTEmbedLoss without its check that both models have tokenizers."""
    loss = losses.GISTEmbedLoss.__new__(losses.GISTEmbedLoss)
    nn.Module.__init__(loss)
    guide_columns = iter(guides)
    loss.model = model
    loss.guide = lambda features: {"sentence_embedding": next(guide_columns)}
    loss.similarity_fct = nn.CosineSimilarity(dim=-1)
    loss.must_retokenize = False
    loss.gather_across_devices = False
    loss.cross_entropy_loss = nn.CrossEntropyLoss()
    for name, value in options.items():
        setattr(loss, name, value)
    return loss


guides = [guide_anchors, guide_positives]
for columns, strategy, margin, contrast in (
    (pair, "absolute", 0.0, True),
    (triple, "absolute", 0.1, True),
    (triple, "relative", 0.2, True),
    (triple, "absolute", 0.0, False),
):
    options = {
        "temperature": 0.2,
        "margin_strategy": strategy,
        "margin": margin,
        "contrast_anchors": contrast,
        "contrast_positives": contrast,
    }
    own = guides if len(columns) == 2 else [*guides, guide_negatives]
    # For a module, embed_columns merges columns of the same kind; for a function, it embeds them one after the other.
    take(
        "GISTEmbedLoss",
        gist(columns, own, **options),
        columns,
        temperature=0.2,
        strategy=strategy,
        margin=margin,
        contrast=contrast,
    )

dims, weights = [8, 4, 2], [1.0, 0.5, 0.25]
take(
    "MatryoshkaLoss",
    losses.MatryoshkaLoss(model, mnrl(model, scale=5.0), dims, weights),
    triple,
    scale=5.0,
    dims=dims,
    weights=weights,
)

content = {
    "embeddings": {key: value.tolist() for key, value in every.items()},
    "guide": {
        "anchors": guide_anchors.tolist(),
        "positives": guide_positives.tolist(),
        "negatives0": guide_negatives.tolist(),
    },
    "teacher": teacher.tolist(),
    "labels": labels.tolist(),
    "losses": record,
}
file = pathlib.Path("src/losses/fixtures/golden.json")
file.parent.mkdir(parents=True, exist_ok=True)


def rounded(value):
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return {key: rounded(item) for key, item in value.items()} if isinstance(value, dict) else value


file.write_text(json.dumps(rounded(content)) + "\n")
