/**
 * @file Makes the tables on language models of docs/performance.md from bench/results/lm.json:
 *
 *     npm run bench:lm -- --model FOLDER
 */
import type { GenerateComparison, KnnResult, LmComparison, LmResults } from '../../bench/lm.ts';
import { markdownTable as table } from './page.ts';
import {
  besideOurs,
  measured as measuredResult,
  megabytes,
  NOT_MEASURED,
  origin,
  sideName,
  spread,
} from './performance-parts.ts';

const MODELS = { 'llama-20m': 'llama, 20.5 M parameters', 'llama-tiny': 'tiny llama' };

/** Generated parts on language models. Every block is filled, with or without a measurement. */
export function languageModelBlocks(): Record<string, string> {
  const measured = measuredResult<LmResults>('lm');
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
      result.sides.map((side, i) => {
        const { time, memory } = besideOurs(side, i);
        return [
          i === 0 ? `${name(result)}, ${result.windows} × ${result.tokens} tokens` : '',
          sideName(side),
          ((1000 * result.windows * result.tokens) / side.medianMs).toFixed(0),
          ...[time, megabytes(side.peakResidentBytes), memory],
        ];
      }),
    );
  const head = ['model', '', 'tokens a second', 'time', 'peak memory', ''];
  const machine = () => {
    const sides = [...score, ...train].flatMap((result) => result.sides.slice(1));
    return origin(measured!, 'lm', [...new Set(sides.map(({ version }) => version))]);
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
            sideName(side),
            spread(side, 'medianMs', (ms) => ms.toFixed(0)),
            ((1000 * tokens) / side.medianMs).toFixed(1),
            besideOurs(side, i).time,
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
