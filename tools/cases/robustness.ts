import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Case, type CaseFolder, type Check, holds, ROOT, said, same } from './harness.ts';

/** Longest time in which a hostile tokenizer may be refused, in seconds. */
const PATIENCE_S = 60;

/** Rows of the table of damaged and hostile inputs that name a command. The others are tests under `test/robustness`. */
export const ROBUSTNESS_CASES: readonly Case[] = [
  { folder: 'robustness/parquet', run: parquet },
  { folder: 'robustness/tokenizer', run: tokenizers },
  { folder: 'robustness', run: streamsAndNumbers },
];

async function parquet(at: CaseFolder): Promise<Check[]> {
  const checks: Check[] = [];
  for (const name of ['a', 'b']) {
    const ended = await at.undrift(`data stats {${name}}`);
    const { type, message = '' } = ended.json?.error ?? {};
    checks.push(
      holds(
        `parquet/${name}`,
        ended.code === 1 &&
          type === 'DataError' &&
          message.includes('train.parquet') &&
          !/\n {4}at /.test(ended.stderr),
        said(ended),
        'an error of ours with the name of the file',
      ),
    );
  }
  return checks;
}

async function tokenizers(at: CaseFolder): Promise<Check[]> {
  const checks: Check[] = [];
  writeFileSync(at.out('line.txt'), `${'a'.repeat(40)}!\n`);
  for (const name of ['regex-split', 'regex-replace', 'growth']) {
    const began = performance.now();
    const ended = await at.undrift(`encode --model {${name}} --input line.txt --out ${name}.npy`, [], {
      seconds: PATIENCE_S,
    });
    const seconds = (performance.now() - began) / 1000;
    const found = `${said(ended)} after ${seconds.toFixed(1)} s`;
    const right = `ends in ${PATIENCE_S} s, with vectors or an error of ours`;
    checks.push(
      holds(`tokenizer/${name}`, ended.code === 0 || ended.json?.error !== undefined, found, right),
    );
  }
  return checks;
}

async function streamsAndNumbers(at: CaseFolder): Promise<Check[]> {
  const checks: Check[] = [];
  if (existsSync('/dev/full')) {
    const full = await intoStream('/dev/full');
    checks.push(
      holds(
        'doctor --json > /dev/full',
        full.code === 1 && /error:/.test(full.stderr),
        `exit code ${full.code}: ${full.stderr.trim().split('\n').at(-1)}`,
        'exit code 1 with an error of ours',
      ),
    );
  }
  writeFileSync(at.out('corpus.jsonl'), '{"_id":"d","text":"a text"}\n');
  writeFileSync(at.out('queries.jsonl'), '{"_id":"q","text":"text"}\n');
  mkdirSync(at.out('qrels'));
  writeFileSync(at.out('qrels/test.tsv'), 'query-id\tcorpus-id\tscore\nq\td\t0x10\n');
  const hexadecimal = await at.undrift('eval --model bm25 --data .');
  checks.push(same('a grade 0x10, exit code', hexadecimal.code, 1));
  return checks;
}

/** Runs `undrift doctor --json` with standard output in a device. */
async function intoStream(path: string): Promise<{ code: number; stderr: string }> {
  const child = spawn(process.execPath, [join(ROOT, 'dist/cli/main.js'), 'doctor', '--json'], {
    stdio: ['ignore', openSync(path, 'w'), 'pipe'],
  });
  let stderr = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  return await new Promise((resolve) => child.on('close', (code) => resolve({ code: code ?? -1, stderr })));
}
