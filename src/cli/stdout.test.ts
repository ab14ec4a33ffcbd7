import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const folder = tempFiles({
  'set/corpus.jsonl': '{"_id": "d1", "text": "one"}\n{"_id": "d2", "text": "two"}\n',
  'set/queries.jsonl': '{"_id": "q1", "text": "one"}\n',
  'set/qrels/test.tsv': 'query-id\tcorpus-id\tscore\nq1\td1\t1\n',
});

/** Runs a shell line in which `undrift` stands for the built command. */
function shell(line: string) {
  const program = `undrift() { "${process.execPath}" "${main}" "$@"; }\n${line}`;
  const { status, stdout, stderr } = spawnSync('bash', ['-c', program], { cwd: folder, encoding: 'utf8' });
  return { status, stdout, stderr };
}

describe.runIf(existsSync('/dev/full'))('standard output on a full disk', () => {
  const FULL =
    'error: cannot write standard output: no space left on the disk\n  help: nothing or only a part';

  it.each([
    'eval --model bm25 --data set',
    'eval --model bm25 --data set --json',
    'data stats set --json',
    '--version',
    '--help',
  ])('%s', (words) => {
    const { status, stderr } = shell(`undrift ${words} >/dev/full`);
    expect(stderr).toContain(FULL);
    expect(status).toBe(1);
    expect(stderr).not.toMatch(/\n\s+at /);
  });

  it('an error is shown on standard error all the same, with its own exit code', () => {
    const { status, stderr } = shell('undrift eval --json --model bm25 --data missing >/dev/full');
    expect(stderr).toMatch(/^error: .*missing/);
    expect(status).toBe(1);
  });

  it('help, of a command or of a list of commands', () => {
    const asked = ['--help', 'lm --help', 'help lm', 'train --help', 'lm eval --help'];
    const { status, stderr } = shell(
      `${asked.map((words) => `undrift ${words} >/dev/full && exit 9`).join('; ')}; exit 0`,
    );
    expect(stderr.split(FULL)).toHaveLength(asked.length + 1);
    expect(status).toBe(0);
  });
});

describe.runIf(process.platform === 'linux')('standard output that is closed', () => {
  const eval_ = 'undrift eval --model bm25 --data set --json';
  it('is an error', () => {
    const { status, stderr } = shell(`${eval_} >&-`);
    expect(stderr).toMatch(/^error: cannot write standard output: it is closed\n {2}help: leave it open/);
    expect(status).toBe(1);
    const dash = spawnSync('sh', ['-c', `"${process.execPath}" "${main}" --version >&-`], {
      encoding: 'utf8',
    });
    expect(dash.stderr).toMatch(/it is closed/);
    expect(dash.status).toBe(1);
  });

  it('is no error where the output is thrown away on purpose, or the reader has had enough', () => {
    expect(shell(`${eval_} --quiet >/dev/null`)).toMatchObject({ status: 0, stderr: '' });
    const ignored = spawnSync(process.execPath, [main, '--version'], { stdio: ['ignore', 'ignore', 'pipe'] });
    expect([ignored.status, String(ignored.stderr)]).toEqual([0, '']);
    const piped = shell('set -o pipefail; undrift --help | head -1');
    expect(piped).toMatchObject({ status: 0, stderr: '' });
    const full = shell(`undrift train --help | { exec <&-; sleep 1; }; exit \${PIPESTATUS[0]}`);
    expect(full).toMatchObject({ status: 0, stderr: '' });
  });
});
