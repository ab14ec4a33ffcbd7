import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { f32 } from '../../test/evaluate.ts';
import { lossAndGradients } from '../../test/loss-gradients.ts';
import { concat, div, matmul, mul, range, squeeze, sum, unsqueeze } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { angle, angleSimilarity } from './angle.ts';
import { cosent } from './cosent.ts';
import { cosineSimilarity } from './cosine-similarity.ts';
import { cosines, type DistanceName, distances, pairCosines } from './distances.ts';
import { type BatchSimilarities, gist } from './gist.ts';
import { klDistillation } from './kl-distillation.ts';
import { marginMse } from './margin-mse.ts';
import { matryoshka } from './matryoshka.ts';
import { softmaxCrossEntropy } from './softmax-cross-entropy.ts';
import { symmetricSoftmax } from './symmetric-softmax.ts';
import { triplet } from './triplet.ts';

type Rows = number[][];
interface Recorded {
  loss: string;
  options: Record<string, unknown>;
  columns: string[];
  value: number;
  gradients: Record<string, number[]>;
}
const golden = JSON.parse(readFileSync(new URL('fixtures/golden.json', import.meta.url), 'utf8')) as {
  embeddings: Record<string, Rows>;
  guide: Record<string, Rows>;
  teacher: Rows;
  labels: number[];
  losses: Recorded[];
};

/** Inputs of a loss: embeddings, and values from the data or a guide. */
interface Parts {
  anchors: Tensor;
  positives: Tensor;
  /** One tensor per column of negatives, with B rows each. */
  negatives: Tensor[];
  labels: Tensor;
  /** f32[B], f32[B, k] */
  teacher: { positive: Tensor; negatives: Tensor };
  guide: { anchors: Tensor; documents: Tensor; positives: Tensor };
}
type Options = Record<string, never> & Record<string, number>;

const documents = ({ positives, negatives }: Parts): Tensor => concat([positives, ...negatives], 0);
const batchScores = (parts: Parts, scale: number): Tensor =>
  mul(cosines(parts.anchors, documents(parts)), scale);
const target = (parts: Parts): Tensor => range(parts.anchors.graph, parts.anchors.shape[0]!);
const mnrl = (parts: Parts, { scale }: Options): Tensor =>
  softmaxCrossEntropy(batchScores(parts, scale!), target(parts));
const symmetric = (parts: Parts, { scale }: Options): Tensor => symmetricSoftmax(batchScores(parts, scale!));
/** Scores of each query with its own documents, by a function of rows. */
const own = ({ anchors, positives, negatives }: Parts, score: (x: Tensor, y: Tensor) => Tensor) => ({
  positive: score(anchors, positives),
  negatives: concat(
    negatives.map((negative) => unsqueeze(score(anchors, negative), 1)),
    1,
  ),
});
const dots = (x: Tensor, y: Tensor): Tensor => sum(mul(x, y), { axes: 1 });

const LOSSES: Record<string, (parts: Parts, options: Options) => Tensor> = {
  MultipleNegativesRankingLoss: mnrl,
  CachedMultipleNegativesRankingLoss: mnrl,
  MultipleNegativesSymmetricRankingLoss: symmetric,
  TripletLoss(parts, options) {
    const { distance, margin } = options as unknown as { distance: DistanceName; margin: number };
    // Distances of rows of the same number: the diagonal of all distances.
    const between = (x: Tensor, y: Tensor) => {
      const all = distances(x, y, distance);
      const eye = x.graph.constant(
        'f32',
        [5, 5],
        Float32Array.from({ length: 25 }, (_, i) => Number(i % 6 === 0)),
      );
      return sum(mul(all, eye), { axes: 1 });
    };
    return triplet(own(parts, between), { margin });
  },
  MarginMSELoss: (parts) => marginMse(own(parts, dots), parts.teacher),
  DistillKLDivLoss(parts, { studentTemperature, teacherTemperature }) {
    const scores = own(parts, (x, y) => div(pairCosines(x, y), studentTemperature!));
    const loss = klDistillation(scores, parts.teacher, { temperature: teacherTemperature! });
    return mul(loss, studentTemperature! ** 2);
  },
  CosineSimilarityLoss: ({ anchors, positives, labels }) =>
    cosineSimilarity(pairCosines(anchors, positives), labels),
  CoSENTLoss: ({ anchors, positives, labels }, { scale }) =>
    cosent(mul(pairCosines(anchors, positives), scale!), labels),
  AnglELoss: ({ anchors, positives, labels }, { scale }) =>
    angle(mul(angleSimilarity(anchors, positives), scale!), labels),
  GISTEmbedLoss(parts, options) {
    const { temperature, strategy, margin, contrast } = options as unknown as {
      temperature: number;
      strategy: 'absolute' | 'relative';
      margin: number;
      contrast: boolean;
    };
    const { anchors, positives, guide } = parts;
    const similarities = (
      of: { anchors: Tensor; positives: Tensor; documents: Tensor },
      scaled: (x: Tensor) => Tensor,
    ): BatchSimilarities => ({
      documents: scaled(cosines(of.anchors, of.documents)),
      ...(contrast && {
        queries: scaled(cosines(of.anchors, of.anchors)),
        positives: scaled(cosines(of.positives, of.positives)),
      }),
    });
    return gist(
      similarities({ anchors, positives, documents: documents(parts) }, (x) => div(x, temperature)),
      similarities(guide, (x) => x),
      { margin, strategy },
    );
  },
  MatryoshkaLoss(parts, options) {
    const { dims, weights, scale } = options as unknown as {
      dims: number[];
      weights: number[];
      scale: number;
    };
    return matryoshka(
      { anchors: parts.anchors, documents: documents(parts) },
      dims.map((dimensions, i) => ({ dimensions, weight: weights[i]! })),
      {
        loss: ({ anchors, documents }) =>
          softmaxCrossEntropy(mul(matmul(anchors, documents, { transB: true }), scale), target(parts)),
      },
    );
  },
};

/** Rows as a tensor, cut to `width` numbers each. */
const column = (rows: Rows, width = rows[0]!.length) =>
  f32(
    [rows.length, width],
    rows.flatMap((row) => row.slice(0, width)),
  );

describe("sentence-transformers' losses, values and gradients", () => {
  it.each(golden.losses.map((recorded, i) => [i, recorded.loss, recorded.options, recorded] as const))(
    '%d: %s %j',
    async (_, name, options, recorded) => {
      const width = options.odd === true ? 7 : 8;
      const { columns } = recorded;
      const guides = columns.filter((key) => key in golden.guide);
      const inputs = {
        ...Object.fromEntries(columns.map((key) => [key, column(golden.embeddings[key]!, width)])),
        ...Object.fromEntries(guides.map((key) => [`guide/${key}`, column(golden.guide[key]!)])),
        labels: f32([5], golden.labels),
        teacherPositive: column(golden.teacher, 1),
        teacherNegatives: column(golden.teacher.map((row) => row.slice(1))),
      };
      const { loss, gradients } = await lossAndGradients(inputs, (t) => {
        const guide = (key: string) => t[`guide/${key}`]!;
        const parts: Parts = {
          anchors: t.anchors!,
          positives: t.positives!,
          negatives: columns.filter((key) => key.startsWith('negatives')).map((key) => t[key]!),
          labels: t.labels!,
          teacher: { positive: squeeze(t.teacherPositive!, 1), negatives: t.teacherNegatives! },
          guide: {
            anchors: guide('anchors'),
            positives: guide('positives'),
            documents: concat(guides.filter((key) => key !== 'anchors').map(guide), 0),
          },
        };
        return { loss: LOSSES[name]!(parts, options as Options) };
      });
      expect(Math.abs(loss / recorded.value - 1)).toBeLessThan(1e-5);
      for (const key of columns) {
        const expected = recorded.gradients[key]!;
        const size = Math.max(...expected.map(Math.abs));
        expect(size, `the gradient of ${key} must not vanish`).toBeGreaterThan(1e-3);
        const difference = Math.max(...expected.map((value, i) => Math.abs(value - gradients[key]![i]!)));
        expect(difference / size, key).toBeLessThan(1e-5);
      }
    },
  );
});
