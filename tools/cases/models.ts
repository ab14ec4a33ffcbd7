import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Case, type CaseFolder, type Check, holds, ROOT, run, Skipped } from './harness.ts';

/** Python with the libraries of `bench/peers/requirements.txt`. */
const PYTHON = process.env.PYTHON;

/**
 * Lines of `run.sh` for which a refusal is as right as the right value, by the README of the case or by the issue, with
 * the message that is expected.
 */
const REFUSALS: Readonly<Record<string, readonly [name: RegExp, message: RegExp]>> = {
  'is-causal': [/^(?!.*control)/, /is_causal|auto_map|custom|code/],
  'metaspace-first': [/^(?!.*control)/, /Metaspace|prepend_scheme/],
  'misleading-advice': [/^adapter folder/, /an adapter \(LoRA\), not a whole model/],
  'noted-but-wrong': [/^(?!.*control)/, /lower|prompt/],
  'special-tokens-after-normalizer': [/^(?!.*control)/, /normaliz|added_tokens/],
  'split-pre-tokenizer': [/^(?!.*control)/, /Split|pattern/],
  'tokenizer-config': [/^(?!.*control)/, /tokenizer_config\.json/],
};

const NAMES = [
  'default-prompt',
  'is-causal',
  'lengths',
  'metaspace-first',
  'misleading-advice',
  'noted-but-wrong',
  'special-tokens-after-normalizer',
  'split-pre-tokenizer',
  'tokenizer-config',
];

/** Cases of model folders and tokenizers, which Python makes and computes. */
export const MODEL_CASES: readonly Case[] = [
  ...NAMES.map((name) => ({ folder: `models/${name}`, run: (at: CaseFolder) => runScript(at, name) })),
  { folder: 'data/include-prompt', run: includePrompt },
];

async function runScript(at: CaseFolder, name: string): Promise<Check[]> {
  if (!PYTHON) throw new Skipped('PYTHON names no Python with bench/peers/requirements.txt');
  const { stdout, code } = await run('sh', [at.of('run.sh')], {
    cwd: ROOT,
    env: { UNDRIFT: ROOT, PYTHON },
    seconds: 1800,
  });
  const lines = stdout.split('\n');
  const checks: Check[] = [];
  for (const [i, line] of lines.entries()) {
    const [, verdict, what] = /^(PASS|FAIL|REFUSED) (.*)$/.exec(line) ?? [];
    if (verdict === undefined || what === undefined) continue;
    const text = [what, ...lines.slice(i + 1, i + 2).filter((next) => next.startsWith('  help:'))].join(' ');
    const [names, message] = REFUSALS[name] ?? [];
    const right = verdict === 'REFUSED' && names?.test(what) && message?.test(text) ? 'REFUSED' : 'PASS';
    checks.push(holds(what.split(':')[0]!, verdict === right, `${verdict} ${text}`, right));
  }
  if (!/^(all passed|\d+ failed)$/m.test(stdout)) {
    checks.push(holds('run.sh', false, `ended with exit code ${code}, without a last line`, 'ends'));
  }
  return checks;
}

/** Vectors of a model whose pooling leaves out the prompt. */
async function includePrompt(at: CaseFolder): Promise<Check[]> {
  if (!PYTHON) throw new Skipped('PYTHON names no Python with bench/peers/requirements.txt');
  const vocabulary = join(at.path, '../../../data/tokenizers/bert-base-uncased/vocab.txt');
  if (!existsSync(vocabulary)) throw new Skipped(`there is no ${vocabulary}`);

  const program = readFileSync(at.of('make.py'), 'utf8').replace(
    'shared data: tokenizers/bert-base-uncased/vocab.txt',
    vocabulary,
  );
  writeFileSync(at.out('make.py'), program);
  writeFileSync(at.out('ip.txt'), readFileSync(at.of('ip.txt')));
  const made = await run(PYTHON, ['-W', 'ignore', 'make.py'], {
    cwd: at.scratch,
    env: { TRANSFORMERS_OFFLINE: '1' },
  });
  if (made.code !== 0) throw new Error(made.stderr.trim().split('\n').at(-1));
  const checks: Check[] = [];
  for (const model of ['st-incTrue', 'st-incFalse']) {
    const ended = await at.undrift(
      `encode --model ${model} --input ip.txt --side query --out ${model}-ours.npy`,
    );
    if (ended.code !== 0) {
      const message = ended.json?.error?.message ?? ended.stderr;
      checks.push(
        holds(
          model,
          model === 'st-incFalse' && /prompt/.test(message),
          message,
          'equal vectors, or a refusal',
        ),
      );
      continue;
    }
    const compare = `import numpy as np; a, b = np.load('${model}.npy'), np.load('${model}-ours.npy'); print((a * b).sum(1).min())`;
    const least = Number((await run(PYTHON, ['-c', compare], { cwd: at.scratch })).stdout);
    checks.push(holds(`${model}: least cosine`, least > 1 - 1e-5, String(least), '1'));
  }
  return checks;
}
