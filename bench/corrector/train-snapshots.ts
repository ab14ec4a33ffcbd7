import { copyFileSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { loadData } from '../../src/data/load.ts';
import { readSafetensors } from '../../src/io/safetensors.ts';
import { loadRetriever } from '../../src/models/folder/model-folder.ts';
import type { Retriever } from '../../src/models/retriever/retriever.ts';
import { encodeCorpus } from '../../src/retrieval/encode-corpus.ts';
import { retrievalTask } from '../../src/retrieval/retrieve.ts';
import type { ComputeOptions } from '../../src/runtime/devices.ts';
import { makeRetriever } from '../../src/train/make-retriever.ts';
import { resolveSettings } from '../../src/train/settings.ts';
import { trainRetriever } from '../../src/train/train-retriever.ts';
import type { SnapshotConfig } from './snapshot-config.ts';

/** Embeddings of all documents and some queries with the weights of one training step. */
export interface Snapshot {
  /** Training step of the weights. */
  readonly step: number;
  /** Document embeddings, f32[N, D]. */
  readonly documents: Float32Array<ArrayBuffer>;
  /** Query embeddings, f32[B, D]. */
  readonly queries: Float32Array<ArrayBuffer>;
}

/**
 * Trains once, as `undrift train` does, and keeps the weights of some steps. With `reuse`, takes the weights
 * kept by an earlier call.
 *
 * @returns  the embeddings with each of these weights, in order
 */
export async function trainSnapshots(
  config: SnapshotConfig,
  { reuse, ...paths }: { data: string; run: string; reuse: boolean },
  compute: ComputeOptions,
): Promise<{ snapshots: Snapshot[]; dimension: number; inverseTemperature: number }> {
  const steps = [config.first, ...config.snapshots];
  const kept = join(paths.run, '..', `${config.name}-weights`);
  const weightsOf = (step: number) => join(kept, `${step}.safetensors`);
  if (!reuse) await train();
  const retriever = await loadRetriever(join(paths.run, 'model'));
  const data = await loadData(paths.data, { splits: [config.split] });
  const task = retrievalTask(data, config.split, { limitQueries: config.queries });
  const tokens = {
    documents: retriever.tokenize('document', data.corpus.size, (row) => data.corpus.text(row)),
    queries: retriever.tokenize('query', data.queries.size, (row) => data.queries.text(row)),
  };
  const snapshots: Snapshot[] = [];
  for (const step of steps) {
    Object.assign(retriever.weights, await weightsAt(step));
    snapshots.push({
      step,
      documents: (await encodeCorpus(retriever, 'document', data.corpus, {
        ...compute,
        tokens: tokens.documents,
      })) as Float32Array<ArrayBuffer>,
      queries: (await encodeCorpus(retriever, 'query', data.queries, {
        ...compute,
        tokens: tokens.queries,
        rows: task.queryRows,
      })) as Float32Array<ArrayBuffer>,
    });
  }
  await retriever.dispose();
  return {
    snapshots,
    dimension: retriever.dimension,
    inverseTemperature:
      1 / resolveSettings({ ...config.train, data: paths.data, out: paths.run }).temperature,
  };

  async function weightsAt(step: number): Promise<Retriever['weights']> {
    if (step > 0) return (await readSafetensors(weightsOf(step))).tensors;
    const settings = resolveSettings({ ...config.train, data: paths.data, out: paths.run });
    const { weights } = await makeRetriever(settings, data, {});
    return weights;
  }

  async function train(): Promise<void> {
    const saveEvery = steps.reduce(greatestDivisor);
    rmSync(kept, { recursive: true, force: true });
    mkdirSync(kept, { recursive: true });
    const keep = (step: number) => {
      if (step === 0 || !steps.includes(step)) return;
      copyFileSync(join(paths.run, 'checkpoint', 'parameters.safetensors'), weightsOf(step));
    };
    const { settings } = await trainRetriever(
      {
        ...config.train,
        ...compute,
        data: paths.data,
        out: paths.run,
        saveEvery,
        evalSplit: 'none',
        overwrite: true,
      },
      // A checkpoint is written only after its step was reported.
      { onStep: ({ step }) => keep(step - 1) },
    );
    keep(settings.steps!);
  }
}

const greatestDivisor = (a: number, b: number): number => (b === 0 ? a : greatestDivisor(b, a % b));
