import { cpSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { tempFiles } from '../temp-files.ts';
import { countOperations, filesOf, inParallel, type Part, sample, undrift, undriftHere } from './drills.ts';
import { dataFiles, SCENARIOS } from './scenarios.ts';

/** Whether all operations are tried: `npm run test:robustness`. */
const whole = process.env.MODE === 'whole';
/** Kills of a scenario in a bounded drill, where they are more than two: a run has many states before its first step. */
const BOUNDED: Record<string, Part> = {
  'train into a new folder': { of: { first: 18, count: 5 }, spaced: 2 },
  'train over an earlier run': { spaced: 3 },
};

/** A name as it stands in another run: without the parts that differ between processes. */
const TEMPORARY = /\.tmp(\/|$)|\.old(\/|$)|\.lock|\.building(\/|$)/;

describe('killed at a file operation, and tried again', () => {
  it.each(SCENARIOS)('$name', { timeout: whole ? 3_600_000 : 300_000 }, async (scenario) => {
    const { before, command, retries, same, mayRefuse, faultOf } = scenario;
    const top = tempFiles();
    const start = join(top, 'start');
    cpSync(tempFiles(dataFiles()), start, { recursive: true });
    for (const words of before) expect(await undriftHere(start, words)).toMatchObject({ code: 0 });
    const clean = join(top, 'clean');
    cpSync(start, clean, { recursive: true });
    const operations = await countOperations(clean, command);
    const files = filesOf(clean);
    const results = files.filter((name) => same.test(name));
    expect(results.length).toBeGreaterThan(0);

    const chosen = sample(
      operations,
      whole ? { spaced: operations } : (BOUNDED[scenario.name] ?? { spaced: 2 }),
    );
    await inParallel(chosen, 2, async (at) => {
      const killed = join(top, `killed-${at}`);
      cpSync(start, killed, { recursive: true });
      const half = at % 2 === 0;
      const { code } = await undrift(killed, command, { at, half });
      expect(code, `operation ${at} of ${operations}`).toBe(null);
      expect(faultOf?.(killed), `after operation ${at}`).toBe(undefined);
      for (const [i, words] of retries.entries()) {
        if (!whole && i !== at % retries.length) continue;
        const what = `killed at operation ${at} of ${operations}, then ${words.join(' ')}`;
        const folder = join(top, `retried-${at}`);
        cpSync(killed, folder, { recursive: true });
        const { code: again, stderr } = await undriftHere(folder, words);
        if (again !== 0 && mayRefuse?.(words, stderr, folder)) {
          rmSync(folder, { recursive: true });
          continue;
        }
        expect(again, `${what}: ${stderr}`).toBe(0);
        for (const name of results) {
          const [found, expected] = [folder, clean].map((each) => readFileSync(join(each, name)));
          expect(found!.equals(expected!), `${what}: ${name}`).toBe(true);
        }
        expect(
          filesOf(folder).filter((name) => TEMPORARY.test(name)),
          what,
        ).toEqual([]);
        rmSync(folder, { recursive: true });
      }
      rmSync(killed, { recursive: true });
    });
  });
});
