/** @file What the programs of this folder share: stored results, and paired differences between them. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { bootstrapInterval, type Interval } from '../../src/eval/significance.ts';

/** Perplexity of a system on text, with the nats of each article. */
export interface TextResult {
  readonly documents: readonly { readonly id: string; readonly nats: number; readonly tokens: number }[];
  readonly perplexity: number;
  readonly bitsPerByte: number;
}

/** Mean difference of two systems with its 95 % interval. */
export interface Difference extends Interval {
  readonly difference: number;
}

/** Splits of a set of texts. */
export type TextSplit = 'train' | 'valid' | 'test';

/** File of a split of texts: .jsonl.gz or .jsonl. The validation split may be called dev, as `split-documents.ts` does. */
export function textSplit(folder: string, split: TextSplit): string {
  const names = split === 'valid' ? ['valid', 'dev'] : [split];
  const files = names.flatMap((name) => [`${name}.jsonl.gz`, `${name}.jsonl`]);
  const found = files.find((file) => existsSync(join(folder, file)));
  if (found === undefined) throw new Error(`${folder} has none of ${files.join(', ')}`);
  return join(folder, found);
}

/** Reads a result that was measured with the same settings; undefined where there is none. */
export function storedResult<R extends { readonly settings: unknown }>(
  file: string,
  settings: unknown,
): R | undefined {
  if (!existsSync(file)) return undefined;
  const stored = JSON.parse(readFileSync(file, 'utf8')) as R;
  return JSON.stringify(stored.settings) === JSON.stringify(settings) ? stored : undefined;
}

/** Mean of numbers. */
export function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum / values.length;
}

/** Nats per token of each article: f64[articles], the mean of all seeds. */
export const articleNats = (seeds: readonly TextResult[]): Float64Array =>
  Float64Array.from(seeds[0]!.documents, (_, i) =>
    mean(seeds.map(({ documents }) => documents[i]!.nats / documents[i]!.tokens)),
  );

/** Compares two systems on the same articles or questions, by a paired bootstrap. */
export function pairedDifference(of: ArrayLike<number>, from: ArrayLike<number>): Difference {
  const differences = Float64Array.from({ length: of.length }, (_, i) => of[i]! - from[i]!);
  return { difference: mean(differences), ...bootstrapInterval(differences) };
}

/** Prints a line with the time of day. */
export const log = (text: string): void => console.log(`${new Date().toISOString().slice(11, 19)} ${text}`);

/** Makes callbacks of a training that print notes, evaluations and, once a minute, the loss or how far the search of neighbours is. */
export function trainingLog() {
  let told = Date.now() - 60_000;
  const everyMinute = (text: string) => {
    if (Date.now() - told < 60_000) return;
    told = Date.now();
    log(`  ${text}`);
  };
  return {
    onNote: (note: string) => log(`  ${note}`),
    onProgress({ stage, done, total }: { stage: string; done: number; total: number | undefined }) {
      if (stage === 'neighbours') everyMinute(`neighbours of ${done} of ${total} sequences`);
    },
    onStep: ({ step, trainingLoss }: { step: number; trainingLoss: number }) =>
      everyMinute(`step ${step}: loss ${trainingLoss.toFixed(4)}`),
    onEvaluation: ({ step, metrics }: { step: number; metrics: Readonly<Record<string, number>> }) =>
      log(`  step ${step}: ${JSON.stringify(metrics)}`),
  };
}
