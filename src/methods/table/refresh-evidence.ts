import { maskedSlots, maskKnownPositives } from '../../cache/masks.ts';
import type { ScoreTable } from '../../cache/score-table.ts';
import { Graph } from '../../graph/graph.ts';
import { logSumExp, matmul, mean, mul, softmax, sub, sum, where } from '../../graph/ops.ts';
import { MASKED_SCORE } from '../../nn/masked-score.ts';
import { type HostTensor, hostTensor, scalarValue } from '../../runtime/host-tensor.ts';
import { Program } from '../../runtime/program.ts';
import { permutation, rngKey } from '../../util/rng.ts';
import { NONE, positionsIn } from '../../util/vector-rows.ts';
import type { MethodContext } from '../contract/method.ts';

/** Training queries, and rows of the table, in the probe. They are the same each time. */
const QUERIES = 64;
const ROWS = 256;

/** Divergence between table and fresh embeddings, as means over the probe's queries, in nats. */
export interface ProbeDivergence {
  /** KL(P‖P̃) of the table as it is. */
  readonly stale: number;
  /** KL(P‖P̃) of the corrected rows that negatives are drawn from. Equals `stale` without a corrector. */
  readonly corrected: number;
}

/**
 * Evidence of how stale a table is, for a refresh policy to act on.
 *
 * - `kl` is KL(P‖P̃) over a uniform sample of 256 rows for 64 training queries, right answers left out. Both are softmaxes over
 *   the sample. The whole corpus has harder documents than the sample, and a larger divergence.
 * - The sample ratio is the mean effective sample size of the draws as a share of k, since it was last taken. It costs nothing.
 *
 * Cost of `kl`: 256 documents and 64 queries embedded.
 */
export class RefreshEvidence {
  private readonly context: MethodContext;
  private readonly table: ScoreTable;
  private readonly corrected: ((slots: Int32Array) => Promise<Float32Array>) | undefined;
  private program: Promise<Program> | undefined;
  /** Sum of sample ratios, and their number. */
  private sampled: [number, number] = [0, 0];

  /**
   * @param of.table  table to measure
   * @param of.corrected  returns rows as a corrector moves them, f32[slots, D]; absent without a corrector
   */
  constructor(
    context: MethodContext,
    of: {
      readonly table: ScoreTable;
      readonly corrected?: ((slots: Int32Array) => Promise<Float32Array>) | undefined;
    },
  ) {
    this.context = context;
    this.table = of.table;
    this.corrected = of.corrected;
  }

  /** Adds the effective sample size of one batch, as a share of the draws. */
  sampleSize(ratio: number): void {
    const [sum, count] = this.sampled;
    this.sampled = [sum + ratio, count + 1];
  }

  /** Returns the mean sample ratio since the last call, and starts anew; 1 where there was no batch. */
  takeSampleRatio(): number {
    const [sum, count] = this.sampled;
    this.sampled = [0, 0];
    return count > 0 ? sum / count : 1;
  }

  /** Measures KL(P‖P̃) with the current weights. Returns 0 for an empty table. */
  async kl(): Promise<ProbeDivergence> {
    const { context, table, corrected } = this;
    const { retriever, queries, documents, compute, ledger, seed, examples, positives } = context;
    const filled = (slot: number) => table.documents[slot] !== NONE;
    const slots = Int32Array.from(
      permutation(rngKey(seed, 0, 'evidence/rows'), table.rows)
        .filter(filled)
        .subarray(0, ROWS),
    );
    if (slots.length === 0) return { stale: 0, corrected: 0 };
    const order = permutation(rngKey(seed, 0, 'evidence/queries'), examples.queryRows.length);
    const queryRows = Int32Array.from(order.subarray(0, QUERIES), (i) => examples.queryRows[i]!);
    ledger.documents('probe', slots.length);
    ledger.queries(queryRows.length);
    const embed = (side: 'query' | 'document', rows: Uint32Array) =>
      retriever.encodeTokens(side, side === 'query' ? queries : documents, { ...compute, rows });
    const fresh = await embed(
      'document',
      Uint32Array.from(slots, (slot) => table.documents[slot]!),
    );
    const queryEmbeddings = await embed('query', Uint32Array.from(queryRows));
    const masked = maskKnownPositives(table, queryRows, { positives, duplicates: context.copies });
    const places = positionsIn(slots, table.rows);
    const [B, M, D] = [queryRows.length, slots.length, table.dimension];
    const flags = new Uint8Array(B * M);
    for (let b = 0; b < B; b++) {
      for (const slot of maskedSlots(masked, b)) {
        const place = places[slot]!;
        if (place !== NONE) flags[b * M + place] = 1;
      }
    }
    const beta = 1 / context.temperature.value;
    const matrix = (rows: number, data: Float32Array) =>
      hostTensor('f32', [rows, D], data as Float32Array<ArrayBuffer>);
    this.program ??= Program.compile(divergenceGraph(D), compute);
    const program = await this.program;
    const against = async (cached: Float32Array): Promise<number> => {
      const { kl } = await program.run({
        queries: matrix(
          B,
          queryEmbeddings.map((x) => beta * x),
        ),
        fresh: matrix(M, fresh),
        cached: matrix(M, cached),
        masked: hostTensor('bool', [B, M], flags),
      });
      return Math.max(0, scalarValue(kl, 'kl'));
    };
    const stale = await against(table.read(slots));
    return { stale, corrected: corrected ? await against(await corrected(slots)) : stale };
  }

  /** Returns the sample ratios for a checkpoint. */
  state(): Record<string, HostTensor> {
    const [sum, count] = this.sampled;
    return count > 0 ? { 'evidence/sampled': hostTensor('f64', [2], Float64Array.of(sum, count)) } : {};
  }

  /** Restores the sample ratios of a checkpoint. */
  restore(state: Readonly<Record<string, HostTensor>>): void {
    const stored = state['evidence/sampled']?.data;
    this.sampled = stored ? [Number(stored[0]), Number(stored[1])] : [0, 0];
  }

  /** Frees the program. */
  async dispose(): Promise<void> {
    await (await this.program)?.dispose();
  }
}

/** Builds the graph of kl f32[]: the mean over the queries of  Σ p (s − s̃) − log Z + log Z̃. */
function divergenceGraph(D: number): Graph {
  const graph = new Graph('probe-divergence');
  const queries = graph.input('queries', 'f32', ['queries', D]);
  const masked = graph.input('masked', 'bool', ['queries', 'rows']);
  const [s, t] = ['fresh', 'cached'].map((name) =>
    where(masked, MASKED_SCORE, matmul(queries, graph.input(name, 'f32', ['rows', D]), { transB: true })),
  ) as [ReturnType<typeof where>, ReturnType<typeof where>];
  const cross = sum(mul(softmax(s), sub(s, t)), { axes: 1 });
  graph.output('kl', mean(sub(cross, sub(logSumExp(s, { axes: 1 }), logSumExp(t, { axes: 1 })))));
  return graph;
}
