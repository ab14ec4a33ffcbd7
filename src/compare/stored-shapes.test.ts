import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { fakeTrainer } from '../../test/fake-comparison.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { DataError, UndriftError } from '../util/errors.ts';
import type { Comparison } from './comparison.ts';
import { stateOfRun } from './one-run.ts';
import { readResults } from './results.ts';
import { runComparison } from './run-comparison.ts';
import { formatResults, resultsAsMarkdown, writeCharts, writeReport } from './write-report.ts';

const arm = (name: string, temperature: number) => {
  const options = { temperature };
  return { name, method: 'in-batch', written: options, options };
};
const comparison = (out: string): Comparison => ({
  name: 'temperatures',
  data: 'data/toy',
  out,
  budget: { kind: 'encodes', amount: 300 },
  seeds: [1, 2],
  arms: [arm('warm', 0.1), arm('cold', 0.05)],
  evaluate: { split: 'test', metrics: ['ndcg@10', 'mrr@10'], queries: 30 },
});

const folder = tempFiles();
const whole = join(folder, 'whole');
beforeAll(async () => {
  await writeReport(await runComparison(comparison(whole), { trainer: fakeTrainer() }), whole);
});

type Path = readonly (string | number)[];

/** Settings that stand for all of them, and entries of tables by name that stand for the others. */
const SAMPLE = ['method', 'model', 'temperature'];

/** Lists the paths of all fields of a JSON value; of a list those of its first item, and of settings a few. */
function pathsOf(value: unknown, at: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [];
  const keys = Array.isArray(value) ? (value.length > 0 ? [0] : []) : Object.keys(value);
  return keys
    .filter((key) => at.at(-1) !== 'settings' || SAMPLE.includes(key as string))
    .flatMap((key) => [
      [...at, key],
      ...pathsOf((value as Record<string | number, unknown>)[key], [...at, key]),
    ]);
}

const textOf = (path: Path): string =>
  path.map((key, i) => (typeof key === 'number' ? `[${key}]` : i === 0 ? key : `.${key}`)).join('');

/** Values of other types than a field's own, and its absence. */
function damages(value: unknown): { name: string; value: unknown }[] {
  const others = [undefined, null, typeof value === 'string' ? 3 : 'text', Array.isArray(value) ? {} : []];
  return others
    .filter((other) => other !== value)
    .map((other) => ({ name: other === undefined ? 'removed' : JSON.stringify(other), value: other }));
}

function changed(json: unknown, path: Path, value: unknown): unknown {
  const copy = structuredClone(json);
  let inner = copy as Record<string | number, unknown>;
  for (const key of path.slice(0, -1)) inner = inner[key] as Record<string | number, unknown>;
  const last = path.at(-1)!;
  if (value !== undefined) inner[last] = value;
  else if (Array.isArray(inner)) inner.splice(last as number, 1);
  else delete inner[last];
  return copy;
}

/**
 * Damages every field of a file in every way, one at a time, and does something with the file.
 *
 * @returns  fields whose damage had no error: `place (damage)`
 */
async function sweep(file: string, use: () => Promise<string>): Promise<string[]> {
  const text = readFileSync(file, 'utf8');
  const json: unknown = JSON.parse(text);
  const accepted: string[] = [];
  for (const path of pathsOf(json)) {
    const value = path.reduce<unknown>(
      (inner, key) => (inner as Record<string | number, unknown>)[key],
      json,
    );
    for (const damage of damages(value)) {
      writeFileSync(file, JSON.stringify(changed(json, path, damage.value)));
      const what = `${textOf(path)} (${damage.name})`;
      try {
        expect(await use(), what).not.toMatch(/undefined|NaN|\[object/);
        accepted.push(what);
      } catch (error) {
        expect(error, `${what}: ${error instanceof Error ? error.stack : error}`).toBeInstanceOf(
          UndriftError,
        );
        const { message, help } = error as UndriftError;
        if (error instanceof DataError) expect(message, what).toContain(file);
        // A list is named by the object that it belongs to where its length is wrong.
        const fields = path.filter((key) => typeof key === 'string').slice(-2);
        expect(
          fields.some((field) => message.includes(field)),
          `${what}: ${message}`,
        ).toBe(true);
        expect(help, what).toBeTruthy();
      }
    }
  }
  writeFileSync(file, text);
  return accepted;
}

/** Makes a copy of the comparison, and the function that runs it again. */
function copyOf(name: string) {
  const out = join(folder, name);
  cpSync(whole, out, { recursive: true });
  const again = async () => {
    const results = await runComparison(comparison(out), { trainer: fakeTrainer() });
    return formatResults(results) + resultsAsMarkdown(results);
  };
  return { out, again };
}

describe('a damaged file of a comparison is refused by field, or does no harm', () => {
  it('results.json', { timeout: 60_000 }, async () => {
    const { out } = copyOf('results');
    const file = join(out, 'results.json');
    const accepted = await sweep(file, async () => {
      const results = await readResults(file);
      await writeCharts(results, join(out, 'charts'));
      const page = readFileSync(await writeReport(results, out), 'utf8').replace(
        /<script[\s\S]*?<\/script>/g,
        '',
      );
      return formatResults(results) + resultsAsMarkdown(results) + page;
    });
    // Entries of tables by name may be absent, lists may be shorter, and a setting may have any type.
    const harmless = [
      /^(failures|budget|baselines) \((removed|null)\)$/,
      /^baselines\[\d\]\.metrics\.[^.]+ \(removed\)$/,
      /\.settings\.temperature \(/,
      /\.(ledger|cost|againstFirst|versions)\.[^.]+ \(removed\)$/,
      /\[0\] \(removed\)$/,
      /\.(sd|best\.value|queries) \(null\)$/,
    ];
    expect(accepted.filter((what) => !harmless.some((pattern) => pattern.test(what)))).toEqual([]);
  });

  it('runs/*.json', async () => {
    const { out } = copyOf('runs');
    const job = {
      arm: arm('cold', 0.05),
      seed: 2,
      length: { steps: 25 },
      out,
      dataFingerprint: 'f1',
    };
    const accepted = await sweep(join(out, 'runs', 'cold-2.json'), async () => {
      const state = await stateOfRun(job, comparison(out));
      if (state.kind === 'other') throw new UndriftError(state.differences.join(), { help: 'repeat it' });
      return state.kind;
    });
    // Another plan of the evaluation makes the model be evaluated again.
    const harmless =
      /^(plan\.|training\.(ledger|machine\.versions)\.[^.]+ \(removed\)|training\.best\.value \(null\)|training\.curves\[0\] \(removed\)|settings\.(model|temperature) \(removed\))/;
    expect(accepted.filter((what) => !harmless.test(what))).toEqual([]);
  });

  it('plans/*.json', async () => {
    const { out, again } = copyOf('plans');
    // A plan of other settings is made anew.
    expect(
      (await sweep(join(out, 'plans', 'cold.json'), again)).filter((what) => !/^settings/.test(what)),
    ).toEqual([]);
  });

  it('settings.json of a run that has begun', { timeout: 60_000 }, async () => {
    const { out, again } = copyOf('begun');
    rmSync(join(out, 'runs', 'cold-2.json'));
    const file = join(out, 'runs', 'cold-2', 'settings.json');
    const stored = readFileSync(file, 'utf8');
    for (const damaged of [
      'null',
      '[]',
      '{}',
      '{"fingerprint": "f1"}',
      '{"fingerprint": 3, "settings": {}}',
    ]) {
      writeFileSync(file, damaged);
      await expect(again(), damaged).rejects.toThrow(/settings\.json: these are not the settings of a run/);
    }
    writeFileSync(file, stored);
    await again();
  });

  it('the result of another run in its place', async () => {
    const { out, again } = copyOf('swapped');
    cpSync(join(out, 'runs', 'warm-1.json'), join(out, 'runs', 'cold-1.json'));
    await expect(again()).rejects.toThrow(/cold-1: .*arm: "warm" then, "cold" now/);
  });
});

it('reads all results of comparisons that the repository has', async () => {
  const published = fileURLToPath(new URL('../../bench/results/quality', import.meta.url));
  const files = existsSync(published) ? readdirSync(published).filter((name) => name.endsWith('.json')) : [];
  expect(files.length).toBeGreaterThan(5);
  for (const name of files) await readResults(join(published, name));
});
