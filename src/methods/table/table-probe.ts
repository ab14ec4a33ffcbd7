import { type DiagnosisInput, TOP_RANKS } from '../../cache/diagnosis-passes.ts';
import { diagnoseTable, staleness } from '../../cache/diagnostics.ts';
import { type MaskedSlots, maskedSlotLists, maskedSlots, maskKnownPositives } from '../../cache/masks.ts';
import type { ScoreTable } from '../../cache/score-table.ts';
import { errorSplit } from '../../correctors/error-split.ts';
import { bringToHost } from '../../runtime/device-memory.ts';
import { float32, type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import { count } from '../../util/format.ts';
import { permutation, rngKey } from '../../util/rng.ts';
import { NONE, positionsIn } from '../../util/vector-rows.ts';
import type { MethodContext, TrainingPairs } from '../contract/method.ts';

/** Largest number of cached embeddings that are compared. Of a larger table, a uniform sample is compared. */
const ROWS = 100_000;

/** Draws the slots that a method would choose for queries: i32[B, k], `NONE` where a query has fewer. */
export type DrawSlots = (queries: Float32Array, masked: MaskedSlots) => Promise<Int32Array>;

/**
 * Measures on request how the staleness of a table affects training: compares its rows with embeddings of the same documents by
 * the current weights. The probe changes neither the table nor the weights. Texts that it embeds are counted apart.
 *
 * | name | |
 * |---|---|
 * | `rows`, `rowsRatio` | cached embeddings compared, and their share of the table |
 * | `staleness` | mean ‖b − g‖² / ‖g‖² over them, b cached and g fresh |
 * | `embeddingDistance` | mean ‖b − g‖: an upper bound of the Wasserstein distance of the two sets |
 * | `riskFresh`, `riskStale`, `riskGapBound` | mean −log p⁺ by g and by b, and the largest gap between them that `embeddingDistance` allows |
 * | `scoreError`, `scoreErrorRange` | ε = max \|s̃ − s\| and max − min of s̃ − s, the largest of all queries |
 * | `klStale`, `klBound`, `klRangeBound` | KL(P‖P̃) in nats; ε²/2 and range²/8 |
 * | `totalVariation`, `totalVariationBound` | TV(P, P̃); tanh(ε/2) |
 * | `vacuousRatio` | share of queries with ε > 2, where these bounds say nothing |
 * | `queryGradientError`, `…Cosine`, `…ErrorBound` | ‖E∇L̂ − ∇L‖ / ‖∇L‖ with respect to the query embeddings, the angle, 2βM·TV / ‖∇L‖ |
 * | `documentGradientError`, … | with respect to the document embeddings |
 * | `topAgreement`, `overlap@10` | whether the best document is the same; share of the ten best |
 * | `positiveProbabilityFresh`, `…Stale` | mean p⁺ of the queries' positives |
 * | `klCorrected`, `stalenessCorrected`, `…Corrected` | with a corrector: the same figures of h(b) instead of b |
 * | `errorMeanShift`, `errorLinear`, `errorRest` | with a corrector: shares of mean ‖b − g‖² that a translation explains, that an affine map explains beyond it, and the rest: `errorSplit` |
 * | `deadQueryRatio` | share of queries with 1 − p⁺ < 0.001 |
 * | `falseNegativeRatio` | share of right answers among the documents that the method would draw now: must be 0 |
 * | `embeddingChange`, `parameterChange`, `lipschitzEstimate` | change since the last diagnosis: mean ‖g − g₀‖ of the probe's positives, ‖θ − θ₀‖ of the document encoder, and their ratio |
 *
 * Cost: one encoding of the table, of the probe's queries and positives; `diagnoseTable`. Memory while it runs: two copies of the
 * compared rows, f32; between runs a copy of the document encoder's weights, which is part of the method's state.
 */
export class TableProbe {
  private readonly context: MethodContext;
  private readonly table: ScoreTable;
  private readonly rows: number;
  private readonly corrected: ((slots: Int32Array) => Promise<Float32Array>) | undefined;
  /** Weights and positives at the last diagnosis. */
  private before: { weights: Record<string, Float32Array>; embeddings: Float32Array } | undefined;
  private told = false;

  /**
   * @param of.rows  largest number of cached embeddings to compare. Default 100,000.
   * @param of.corrected  returns rows as a corrector moves them, f32[slots, D]; absent without a corrector
   */
  constructor(
    context: MethodContext,
    of: {
      readonly table: ScoreTable;
      readonly rows?: number;
      readonly corrected?: ((slots: Int32Array) => Promise<Float32Array>) | undefined;
    },
  ) {
    this.context = context;
    this.table = of.table;
    this.rows = of.rows ?? ROWS;
    this.corrected = of.corrected;
  }

  /**
   * Measures with the current weights.
   *
   * @param pairs  queries and positives of the probe
   * @param draw  draws negatives as the method would; absent where the false negatives are not measured
   * @returns  figures by name, as in the table of the class
   */
  async run(pairs: TrainingPairs, draw?: DrawSlots): Promise<Readonly<Record<string, number>>> {
    const { table, context } = this;
    const positives = await this.embed('document', pairs.positiveRows);
    const change = await this.changeSince(positives);
    const slots = this.slots();
    if (slots.length === 0) return { rows: 0, ...change };
    const D = table.dimension;
    const fresh = await this.embed(
      'document',
      slots.map((slot) => table.documents[slot]!),
    );
    const stale = table.read(slots);
    const queries = await this.embed('query', pairs.queryRows);
    const masked = maskKnownPositives(table, pairs.queryRows, {
      positives: context.positives,
      positiveRows: pairs.positiveRows,
      duplicates: context.copies,
    });
    const input = {
      queries,
      positives,
      fresh,
      stale,
      dimension: D,
      inverseTemperature: 1 / context.temperature.value,
      masked: masksIn(slots, table.rows, masked),
      documentsPerRow: table.filled / slots.length,
    };
    const found = await diagnoseTable(input, context.compute);
    const moved = this.corrected ? await this.afterCorrection(input, await this.corrected(slots)) : {};
    const { divergence, bounds, queryGradient, documentGradient } = found;
    const distance = meanDistance(stale, fresh, D);
    return {
      rows: slots.length,
      rowsRatio: slots.length / table.filled,
      staleness: staleness(stale, fresh, D),
      embeddingDistance: distance,
      riskFresh: found.risk.fresh,
      riskStale: found.risk.stale,
      riskGapBound: distance * found.risk.gapPerDistance,
      scoreError: divergence.maxScoreError,
      scoreErrorRange: divergence.scoreErrorRange,
      klStale: divergence.kl,
      klBound: bounds.kl,
      klRangeBound: bounds.klByRange,
      totalVariation: divergence.totalVariation,
      totalVariationBound: bounds.totalVariation,
      vacuousRatio: found.vacuousRatio,
      queryGradientError: queryGradient.relativeError,
      queryGradientErrorBound: queryGradient.relativeErrorBound,
      queryGradientCosine: queryGradient.cosine,
      documentGradientError: documentGradient.relativeError,
      documentGradientErrorBound: documentGradient.relativeErrorBound,
      documentGradientCosine: documentGradient.cosine,
      topAgreement: found.topAgreement,
      [`overlap@${TOP_RANKS}`]: found.topOverlap,
      positiveProbabilityFresh: found.positiveProbability.fresh,
      positiveProbabilityStale: found.positiveProbability.stale,
      ...moved,
      deadQueryRatio: found.deadQueryRatio,
      ...(draw && { falseNegativeRatio: this.falseNegatives(pairs, await draw(queries, masked)) }),
      ...change,
    };
  }

  /** Computes the figures that tell whether a corrector helps, from the corrected rows. */
  private async afterCorrection(
    input: DiagnosisInput,
    corrected: Float32Array,
  ): Promise<Record<string, number>> {
    const found = await diagnoseTable({ ...input, stale: corrected }, this.context.compute);
    const { stale, fresh, dimension: D } = input;
    const { compute } = this.context;
    // With too few rows to split, or rows that have not moved, there is no error to split.
    const isSplit = stale.length >= 4 * D && stale.some((value, i) => value !== fresh[i]);
    const split = isSplit ? await errorSplit({ stale, fresh }, { dimension: D, compute }) : undefined;
    return {
      ...(split && {
        errorMeanShift: split.meanShiftRatio,
        errorLinear: split.linearRatio,
        errorRest: split.restRatio,
      }),
      stalenessCorrected: staleness(corrected, fresh, D),
      klCorrected: found.divergence.kl,
      totalVariationCorrected: found.divergence.totalVariation,
      [`overlap@${TOP_RANKS}Corrected`]: found.topOverlap,
      positiveProbabilityCorrected: found.positiveProbability.stale,
    };
  }

  /** Returns the weights and embeddings that the next diagnosis compares with; empty before the first. */
  state(): Record<string, HostTensor> {
    if (!this.before) return {};
    const { weights, embeddings } = this.before;
    const vector = (data: Float32Array) =>
      hostTensor('f32', [data.length], data as Float32Array<ArrayBuffer>);
    return {
      'diagnosis/embeddings': vector(embeddings),
      ...Object.fromEntries(
        Object.entries(weights).map(([name, data]) => [`diagnosis/weights/${name}`, vector(data)]),
      ),
    };
  }

  /** Restores the state of a checkpoint; ignores other tensors. */
  restore(state: Readonly<Record<string, HostTensor>>): void {
    const embeddings = state['diagnosis/embeddings'];
    if (!embeddings) return;
    const prefix = 'diagnosis/weights/';
    const own = Object.entries(state).filter(([name]) => name.startsWith(prefix));
    this.before = {
      embeddings: float32(embeddings),
      weights: Object.fromEntries(own.map(([name, tensor]) => [name.slice(prefix.length), float32(tensor)])),
    };
  }

  /** Lists the filled slots, or a sample of them. The sample is the same each time, as far as its slots are filled. */
  private slots(): Int32Array {
    const { table, context } = this;
    const filled = (slot: number) => table.documents[slot] !== NONE;
    if (table.filled <= this.rows) return Int32Array.from(table.documents.keys()).filter(filled);
    if (!this.told) {
      context.onNote?.(
        `diagnosis by a uniform sample of ${count(this.rows)} of the ${count(table.filled)} cached embeddings`,
      );
      this.told = true;
    }
    const order = permutation(rngKey(context.seed, 0, 'diagnosis/slots'), table.rows);
    return Int32Array.from(order.filter(filled).subarray(0, this.rows)).sort();
  }

  private async embed(side: 'query' | 'document', rows: Int32Array): Promise<Float32Array> {
    const { retriever, compute, ledger, queries, documents, onProgress } = this.context;
    ledger.diagnosis(rows.length);
    return await retriever.encodeTokens(side, side === 'query' ? queries : documents, {
      ...compute,
      rows: Uint32Array.from(rows),
      onProgress: (progress) => onProgress?.({ ...progress, stage: 'diagnose' }),
    });
  }

  /** Measures how far the positives' embeddings and the weights behind them have moved since the last diagnosis. */
  private async changeSince(embeddings: Float32Array): Promise<Record<string, number>> {
    const { retriever } = this.context;
    const { before } = this;
    const own = Object.entries(retriever.trainedWeights('document'));
    await bringToHost(own.map(([, tensor]) => tensor));
    this.before = {
      embeddings,
      weights: Object.fromEntries(own.map(([name, tensor]) => [name, float32(tensor).slice()])),
    };
    if (before?.embeddings.length !== embeddings.length) return {};
    let squares = 0;
    for (const [name, now] of Object.entries(this.before.weights)) {
      const then = before.weights[name]!;
      for (let i = 0; i < now.length; i++) squares += (now[i]! - then[i]!) ** 2;
    }
    const embeddingChange = meanDistance(before.embeddings, embeddings, retriever.dimension);
    const parameterChange = Math.sqrt(squares);
    return {
      embeddingChange,
      parameterChange,
      ...(parameterChange > 0 && { lipschitzEstimate: embeddingChange / parameterChange }),
    };
  }

  /** Computes the share of drawn documents that are known positives or have the text of one. It compares texts, not masks. */
  private falseNegatives({ queryRows, positiveRows }: TrainingPairs, slots: Int32Array): number {
    const { table, context } = this;
    const k = slots.length / queryRows.length;
    const text = (document: number) => context.documents.tokens(document).join();
    let [drawn, wrong] = [0, 0];
    for (const [i, queryRow] of queryRows.entries()) {
      const right = new Set([positiveRows[i]!, ...context.positives(queryRow)].map(text));
      for (const slot of slots.subarray(i * k, (i + 1) * k)) {
        if (slot === NONE) continue;
        drawn += 1;
        if (right.has(text(table.documents[slot]!))) wrong += 1;
      }
    }
    return wrong / Math.max(1, drawn);
  }
}

/** Renumbers masks by the place of each slot in a list. Slots that are not in the list need no mask. */
function masksIn(slots: Int32Array, rows: number, masked: MaskedSlots): MaskedSlots {
  const places = positionsIn(slots, rows);
  return maskedSlotLists(masked.offsets.length - 1, (query) =>
    Array.from(maskedSlots(masked, query), (slot) => places[slot]!).filter((place) => place !== NONE),
  );
}

/** Computes the mean ‖a − b‖ over the rows of two matrices. */
function meanDistance(a: Float32Array, b: Float32Array, D: number): number {
  let total = 0;
  for (let start = 0; start < a.length; start += D) {
    let square = 0;
    for (let i = start; i < start + D; i++) square += (a[i]! - b[i]!) ** 2;
    total += Math.sqrt(square);
  }
  return total / (a.length / D);
}
