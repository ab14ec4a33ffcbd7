/**
 * @file Makes the tables on joint training of docs/performance.md from bench/results/joint.json:
 *
 *     npm run bench:joint -- --model FOLDER --retriever FOLDER
 */
import type { FusionResult, JointResults, PartsResult } from '../../bench/joint.ts';
import { count } from '../../src/util/format.ts';
import { markdownTable as table } from './page.ts';
import {
  besideOurs,
  measured as measuredResult,
  megabytes,
  NOT_MEASURED,
  origin,
  spread,
} from './performance-parts.ts';

/** Generated parts on joint training. Every block is filled, with or without a measurement. */
export function jointBlocks(): Record<string, string> {
  const measured = measuredResult<JointResults>('joint');
  const { results = [], model, retriever } = measured ?? {};
  const parts = results.filter((result): result is PartsResult => result.suite === 'parts');
  const fusion = results.filter((result): result is FusionResult => result.suite === 'fusion');
  const titles: Readonly<Record<string, string>> = {
    'realm-given': `REALM, ${model} with LoRA, ${retriever}`,
    'atlas-given': `Atlas, ${model} with LoRA, ${retriever}`,
    'atlas-t5-small': 'Atlas, T5 and BERT of 6 layers and width 512',
    't5-small': 'T5 and BERT of 6 layers and width 512',
  };
  return {
    'joint-parts':
      parts.length === 0
        ? NOT_MEASURED
        : `${table(
            [
              ...['run', 'queries × candidates', 'tokens read', 'retrieve, ms', 'retriever, ms', 'read, ms'],
              ...['update, ms', 'one refresh, ms', 'peak memory', 'rounds'],
            ],
            parts.map(({ parts: of, ...result }) => [
              titles[result.case] ?? result.case,
              `${result.batch} × ${result.candidates}`,
              count(Math.round(result.readerTokens)),
              ...[of.retrieve, of.retriever, of.read, of.update, of.refresh].map((ms) => ms.toFixed(0)),
              megabytes(result.peakResidentBytes),
              String(result.rounds),
            ]),
          )}\n\n${origin(measured!, 'joint')}`,
    'joint-fusion':
      fusion.length === 0
        ? NOT_MEASURED
        : table(
            ['models', '', 'a step, ms', 'time', 'peak memory', ''],
            fusion.flatMap(({ sides, ...result }) =>
              sides.map((side, i) => {
                const { time, memory } = besideOurs(side, i);
                const size = `${result.batch} × ${result.candidates} passages of ${result.words} words`;
                return [
                  i === 0 ? `${titles[result.case] ?? result.case}, ${size}` : '',
                  i === 0 ? 'Undrift' : side.version,
                  spread(side, 'medianMs', (ms) => ms.toFixed(0)),
                  ...[time, megabytes(side.peakResidentBytes), memory],
                ];
              }),
            ),
          ),
  };
}
