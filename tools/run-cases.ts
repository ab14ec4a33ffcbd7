/**
 * @file Runs the cases of `../shared/cases`, inputs on which an earlier version gave wrong answers, and prints a line for each: its name, `ok` or
 * `FAILED`, and what was measured against the right value.
 *
 *     npm run build
 *     PYTHON=python npx tsx tools/run-cases.ts [FOLDER] [--only TEXT] [--all]
 *
 * FOLDER has the cases; default ../shared/cases beside the checkout. `--only` picks the cases whose path has the text.
 * `--all` prints every measurement, not only those that differ. PYTHON names a Python with bench/peers/requirements.txt;
 * cases that need it are skipped without. Exit code 1 if a case fails.
 */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { DATA_CASES } from './cases/data.ts';
import { type Case, CaseFolder, type Check, ROOT, Skipped } from './cases/harness.ts';
import { MODEL_CASES } from './cases/models.ts';
import { ROBUSTNESS_CASES } from './cases/robustness.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { only: { type: 'string', default: '' }, all: { type: 'boolean', default: false } },
});
const folder = resolve(positionals[0] ?? join(ROOT, '../shared/cases'));
if (!existsSync(folder)) throw new Error(`there are no cases: ${folder}`);

const CASES = [...MODEL_CASES, ...DATA_CASES, ...ROBUSTNESS_CASES];
const counts = { ok: 0, FAILED: 0, skipped: 0 };
for (const each of CASES.filter((one) => one.folder.includes(values.only))) {
  const { verdict, lines } = await tryCase(each);
  counts[verdict]++;
  console.log([`${verdict.padEnd(7)} ${each.folder}: ${lines[0]}`, ...lines.slice(1)].join('\n          '));
}
console.log(`${counts.ok} ok, ${counts.FAILED} failed, ${counts.skipped} skipped`);
process.exitCode = counts.FAILED > 0 ? 1 : 0;

async function tryCase(each: Case): Promise<{ verdict: keyof typeof counts; lines: string[] }> {
  const at = new CaseFolder(join(folder, each.folder));
  try {
    const checks = await each.run(at);
    const wrong = checks.filter(({ ok }) => !ok);
    const shown = values.all || wrong.length > 0 ? (values.all ? checks : wrong) : checks;
    const summary = `${checks.length - wrong.length} of ${checks.length} right`;
    const brief = !values.all && wrong.length === 0;
    return {
      verdict: wrong.length === 0 && checks.length > 0 ? 'ok' : 'FAILED',
      lines: brief ? [`${summary}; ${briefly(checks)}`] : [summary, ...shown.map(lineOf)],
    };
  } catch (error) {
    if (error instanceof Skipped) return { verdict: 'skipped', lines: [error.message] };
    return { verdict: 'FAILED', lines: [error instanceof Error ? error.message : String(error)] };
  } finally {
    at.dispose();
  }
}

function lineOf({ what, found, right, ok }: Check): string {
  return `${ok ? 'ok' : 'FAILED'} ${what}: ${cut(found)}${ok ? '' : `, right is ${right}`}`;
}

/** Names what was measured, as far as it fits a line. */
function briefly(checks: readonly Check[]): string {
  const some = checks.slice(0, 4).map(({ what, found }) => `${cut(what, 50)}: ${cut(found, 40)}`);
  return some.join('; ') + (checks.length > 4 ? '; …' : '');
}

function cut(text: string, length = 240): string {
  const line = text.replaceAll(/\s+/g, ' ');
  return line.length > length ? `${line.slice(0, length - 1)}…` : line;
}
