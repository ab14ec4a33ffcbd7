/**
 * Simulates clusters of many workers, without a server and without embedding:
 *
 *     npm run bench:cluster-simulation -- [--json] [--out FILE] [--case NAME]… [--workers 1000] [--worker-crash 0.1:60] …
 *
 * A case is a cluster, its work, and how often processes are killed, hang and are lost. Without options all cases are simulated, and
 * written to `bench/results/cluster-simulation.json`, from which docs/guides/many-machines.md is made. Any setting of
 * `bench/cluster/simulation-settings.ts` is an option; one simulation with these settings is then printed. A failure is given as times an
 * hour and seconds: `0.1:60`. Equal settings give equal results. All cases take about ten minutes.
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { formatBytes, formatCount, formatDuration, percent } from '../src/util/format.ts';
import { type SimulatedCase, simulatedCases } from './cluster/simulated-cases.ts';
import { simulate } from './cluster/simulation.ts';
import { CALM, DEFAULTS, type Failure, type SimulationSettings } from './cluster/simulation-settings.ts';
import { RESULT_OPTIONS, writeResult } from './result-file.ts';
import { table } from './statistics.ts';

const RESULT = fileURLToPath(new URL('results/cluster-simulation.json', import.meta.url));
const optionOf = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
const names = Object.keys(DEFAULTS) as (keyof SimulationSettings)[];
const { values } = parseArgs({
  options: {
    ...RESULT_OPTIONS,
    case: { type: 'string', multiple: true },
    calm: { type: 'boolean', default: false },
    ...Object.fromEntries(names.map((name) => [optionOf(name), { type: 'string' as const }])),
  },
});
const given = values as Readonly<Record<string, string | boolean | readonly string[] | undefined>>;

/** Reads a setting from the text of its option. */
function read(name: keyof SimulationSettings, text: string): number | boolean | Failure {
  const before = DEFAULTS[name];
  if (typeof before === 'boolean' && /^(true|false)$/.test(text)) return text === 'true';
  const numbers = text.split(':').map(Number);
  if (typeof before === 'number' && numbers.length === 1 && numbers[0]! >= 0) return numbers[0]!;
  if (typeof before === 'object' && numbers.length === 2 && numbers.every((each) => each >= 0))
    return { perHour: numbers[0]!, seconds: numbers[1]! };
  throw new Error(
    `--${optionOf(name)} takes ${typeof before === 'object' ? 'TIMES:SECONDS' : typeof before}`,
  );
}

const changed = Object.fromEntries(
  names.flatMap((name) => {
    const text = given[optionOf(name)];
    return typeof text === 'string' ? [[name, read(name, text)]] : [];
  }),
) as Partial<SimulationSettings>;
const isOne = Object.keys(changed).length > 0 || values.calm;
const wanted = values.case;
const cases: Readonly<Record<string, SimulationSettings>> = isOne
  ? { given: { ...DEFAULTS, ...(values.calm && CALM), ...changed } }
  : Object.fromEntries(Object.entries(simulatedCases()).filter(([name]) => wanted?.includes(name) ?? true));
for (const name of wanted ?? [])
  if (!(name in cases))
    throw new Error(`no case ${name}; there are:\n${Object.keys(simulatedCases()).join('\n')}`);

const results: SimulatedCase[] = [];
for (const [name, settings] of Object.entries(cases)) {
  const began = performance.now();
  results.push({ name, settings, result: simulate(settings) });
  process.stderr.write(`${name}: ${formatDuration(performance.now() - began)}\n`);
}
const out = values.out ?? (isOne || wanted ? undefined : RESULT);
writeResult({ cases: results }, { json: values.json, out });
if (!values.json)
  console.log(
    table([
      [
        'case',
        'time',
        'of the ideal',
        'again',
        'refused',
        'streams busy',
        'reading',
        'storing',
        'messages',
        'bytes in',
      ],
      ...results.map(({ name, result: { seconds, idealSeconds, tasks, results: rows, busy, ...rest } }) => [
        name,
        formatDuration(1000 * seconds),
        percent(idealSeconds / seconds, 0),
        formatCount(tasks.redelivered),
        formatCount(rows.refused),
        percent(busy.streams, 0),
        percent(busy.reading, 0),
        percent(busy.storing, 0),
        formatCount(rest.coordinator.messages),
        formatBytes(rest.bytes.in),
      ]),
    ]),
  );
