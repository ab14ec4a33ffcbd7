/**
 * @file Makes the tables on joint training of docs/performance.md from bench/results/joint.json:
 *
 *     npm run bench:joint -- --model FOLDER --retriever FOLDER
 */
import { existsSync } from 'node:fs';
import type { FusionResult, JointResults, PartsResult } from '../../bench/joint.ts';
import { inRepository, readResult, markdownTable as table } from './page.ts';

const FILE = 'joint.json';
const NOT_MEASURED = '*Not measured yet.*';

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;

/** Generated parts on joint training. Every block is filled, with or without a measurement. */
export function jointBlocks(): Record<string, string> {
  const measured = existsSync(inRepository(`bench/results/${FILE}`))
    ? readResult<JointResults>(FILE)
    : undefined;
  const { results = [], model, retriever } = measured ?? {};
  const parts = results.filter((result): result is PartsResult => result.suite === 'parts');
  const fusion = results.filter((result): result is FusionResult => result.suite === 'fusion');
  const titles: Readonly<Record<string, string>> = {
    'realm-given': `REALM, ${model} with LoRA, ${retriever}`,
    'atlas-given': `Atlas, ${model} with LoRA, ${retriever}`,
    'atlas-t5-small': 'Atlas, T5 and BERT of 6 layers and width 512',
    't5-small': 'T5 and BERT of 6 layers and width 512',
  };
  const machine = () => {
    const { processor, threads, node, load } = measured!;
    return `${processor}, ${threads} threads, Node ${node}; load of the machine ${load.before.toFixed(1)} before, ${load.after.toFixed(1)} after.
From [\`bench/results/${FILE}\`](../bench/results/${FILE}).`;
  };
  return {
    'joint-parts':
      parts.length === 0
        ? NOT_MEASURED
        : `${table(
            [
              ...['run', 'queries × candidates', 'retrieve, ms', 'retriever, ms', 'read, ms', 'update, ms'],
              ...['one refresh, ms', 'peak memory'],
            ],
            parts.map(({ parts: of, ...result }) => [
              titles[result.case] ?? result.case,
              `${result.batch} × ${result.candidates}`,
              ...[of.retrieve, of.retriever, of.read, of.update, of.refresh].map((ms) => ms.toFixed(0)),
              megabytes(result.peakResidentBytes),
            ]),
          )}\n\n${machine()}`,
    'joint-fusion':
      fusion.length === 0
        ? NOT_MEASURED
        : table(
            ['models', '', 'a step, ms', 'time', 'peak memory', ''],
            fusion.flatMap(({ sides, ...result }) =>
              sides.map((side, i) => [
                i === 0
                  ? `${titles[result.case] ?? result.case}, ${result.batch} × ${result.candidates} passages of ${result.words} words`
                  : '',
                i === 0 ? 'Undrift' : side.version,
                side.medianMs.toFixed(0),
                i === 0
                  ? ''
                  : `× ${side.timeRatio.toFixed(2)} (${side.timeRatioRange.map((r) => r.toFixed(2)).join('–')})`,
                megabytes(side.peakResidentBytes),
                i === 0 ? '' : `× ${side.memoryRatio.toFixed(2)}`,
              ]),
            ),
          ),
  };
}
