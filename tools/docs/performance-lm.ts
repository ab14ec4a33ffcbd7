/**
 * @file Makes the tables on language models of docs/performance.md from bench/results/lm.json:
 *
 *     npm run bench:lm -- --model FOLDER
 */
import { existsSync } from 'node:fs';
import type { GenerateComparison, KnnResult, LmComparison, LmResults } from '../../bench/lm.ts';
import { inRepository, readResult, markdownTable as table } from './page.ts';

const FILE = 'lm.json';
const NOT_MEASURED = '*Not measured yet.*';
const MODELS = { 'llama-20m': 'llama, 20.5 M parameters', 'llama-tiny': 'tiny llama' };

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;

/** Generated parts on language models. Every block is filled, with or without a measurement. */
export function languageModelBlocks(): Record<string, string> {
  const measured = existsSync(inRepository(`bench/results/${FILE}`))
    ? readResult<LmResults>(FILE)
    : undefined;
  const of = <T extends { suite: string }>(suite: T['suite']): T[] =>
    (measured?.results ?? []).filter((result) => result.suite === suite) as unknown as T[];
  const [score, train, knn] = [of<LmComparison>('score'), of<LmComparison>('train'), of<KnnResult>('knn')];
  const generated = of<GenerateComparison>('generate');
  const known = (model: LmComparison['model']) =>
    model === 'given' ? (measured!.model ?? 'given model') : MODELS[model];
  const name = ({ model, lora }: LmComparison) => {
    return lora > 0 ? `${known(model)}, LoRA of rank ${lora}` : known(model);
  };
  const filled = (results: readonly unknown[], content: () => string) =>
    results.length > 0 ? content() : NOT_MEASURED;
  const rows = (results: readonly LmComparison[]) =>
    results.flatMap((result) =>
      result.sides.map((side, i) => [
        i === 0 ? `${name(result)}, ${result.windows} × ${result.tokens} tokens` : '',
        i === 0 ? 'Undrift' : side.name,
        `${((1000 * result.windows * result.tokens) / side.medianMs).toFixed(0)}`,
        i === 0
          ? ''
          : `× ${side.timeRatio.toFixed(2)} (${side.timeRatioRange.map((r) => r.toFixed(2)).join('–')})`,
        megabytes(side.peakResidentBytes),
        i === 0 ? '' : `× ${side.memoryRatio.toFixed(2)}`,
      ]),
    );
  const head = ['model', '', 'tokens a second', 'time', 'peak memory', ''];
  const machine = () => {
    const { processor, threads, node, load } = measured!;
    const versions = [
      ...new Set([...score, ...train].flatMap(({ sides }) => sides.slice(1).map((s) => s.version))),
    ];
    return `${[processor, `${threads} threads`, `Node ${node}`, ...versions].join(', ')}; load of the machine ${load.before.toFixed(1)} before, ${load.after.toFixed(1)} after.
From [\`bench/results/${FILE}\`](../bench/results/${FILE}).`;
  };
  return {
    'lm-score': filled(score, () => `${table(head, rows(score))}\n\n${machine()}`),
    'lm-train': filled(train, () => table(head, rows(train))),
    'lm-generate': filled(generated, () =>
      table(
        ['model', '', 'time, ms', 'new tokens a second', 'time, × ours', 'peak memory'],
        generated.flatMap(({ model, prompt, tokens, sides }) =>
          sides.map((side, i) => [
            i === 0
              ? `${known(model)}, ${tokens === 1 ? 'first token' : `${tokens} tokens`} after ${prompt}`
              : '',
            i === 0 ? 'Undrift' : side.name,
            side.medianMs.toFixed(0),
            ((1000 * tokens) / side.medianMs).toFixed(1),
            i === 0 ? '' : `× ${side.timeRatio.toFixed(2)}`,
            megabytes(side.peakResidentBytes),
          ]),
        ),
      ),
    ),
    'lm-knn': filled(knn, () =>
      table(
        ['keys', 'queries', 'k', 'bare product, ms', 'search, ms', 'over the product', 'best over best'],
        knn.map((each) => [
          `${each.rows.toLocaleString('en-US')} × ${each.dimension}, ${each.place === 'stored' ? 'f16 on disk' : 'f32 in memory'}`,
          each.queries.toLocaleString('en-US'),
          each.k.toLocaleString('en-US'),
          each.bareMs.toFixed(0),
          each.searchMs.toFixed(0),
          `**${each.ratio.toFixed(2)}**`,
          each.bestRatio.toFixed(2),
        ]),
      ),
    ),
  };
}
