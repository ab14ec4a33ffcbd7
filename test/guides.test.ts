import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { fakeHub } from './fake-hub.ts';
import { natsProgram, noNats } from './nats-server.ts';
import { tempFiles } from './temp-files.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const guides = join(root, 'docs', 'guides');
const pages = readdirSync(guides).filter((name) => name.endsWith('.md') && name !== 'README.md');
const read = (page: string) => readFileSync(join(guides, page), 'utf8');
const run = promisify(execFile);

/** Code block of a guide, with the reason if it is not run. */
interface Block {
  readonly language: string;
  readonly code: string;
  readonly notRun: string | undefined;
}

const blocksOf = (page: string): Block[] =>
  [...read(page).matchAll(/(?:<!-- not run: (.*?) -->\n)?^```(\w+)\n(.*?)^```$/gms)].map(
    ([, notRun, language, code]) => ({ language: language!, code: code!, notRun }),
  );

/** 300 questions and answers about commands, of which dev and test are held out. */
function pairs(): string {
  const things = ['commit', 'branch', 'merge', 'rebase', 'stash', 'tag', 'remote', 'clone', 'push', 'pull'];
  const actions = ['undo', 'delete', 'rename', 'list', 'show', 'create'];
  const pair = (i: number) => {
    const [thing, action] = [things[i % 10], actions[(i * 7) % 6]];
    return {
      query: `how do I ${action} a ${thing} number ${i}`,
      positive: `To ${action} a ${thing}, run git ${thing} --${action} ${i} in the folder of the project`,
    };
  };
  return Array.from({ length: 300 }, (_, i) => `${JSON.stringify(pair(i))}\n`).join('');
}

/** Makes the folder of a user: the data, the examples, and an `npx` that runs the built package of this repository. */
function userFolder(): string {
  const folder = tempFiles({
    'pairs.jsonl': pairs(),
    'bin/npx': `#!/bin/sh
case "$1" in
  undrift) shift; exec "${process.execPath}" "${join(root, 'dist/cli/main.js')}" "$@" ;;
  tsx) shift; exec "${process.execPath}" --import "${import.meta.resolve('tsx')}" "$@" ;;
  *) echo "no such program: $1" >&2; exit 127 ;;
esac
`,
  });
  chmodSync(join(folder, 'bin/npx'), 0o755);
  symlinkSync(join(root, 'examples'), join(folder, 'examples'));
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(root, join(folder, 'node_modules/undrift'));
  symlinkSync(join(root, 'node_modules/@huggingface'), join(folder, 'node_modules/@huggingface'));
  return folder;
}

const fixture = (name: string) => readFileSync(join(root, 'src/models/architectures/fixtures/bert', name));
/** A tiny BERT under the name that the guides use. */
const hub = await fakeHub({
  'models/sentence-transformers/all-MiniLM-L6-v2': {
    files: Object.fromEntries(
      ['config.json', 'tokenizer.json', 'model.safetensors'].map((name) => [name, fixture(name)]),
    ),
  },
});

describe.skipIf(process.platform === 'win32')('the commands of guides', () => {
  const usesNats = (page: string) => read(page).includes('nats-server -c');
  const served = pages.filter(usesNats);
  it.skipIf(noNats !== undefined).each(served)(
    `%s${noNats ? ` (${noNats})` : ''}`,
    { timeout: 300_000 },
    works,
  );
  it.each(pages.filter((page) => !served.includes(page)))('%s', { timeout: 300_000 }, works);

  async function works(page: string): Promise<void> {
    const folder = userFolder();
    if (usesNats(page)) symlinkSync(natsProgram!, join(folder, 'bin/nats-server'));
    const env = {
      ...process.env,
      PATH: `${join(folder, 'bin')}${delimiter}${process.env.PATH}`,
      HF_ENDPOINT: hub.url,
      HF_HUB_CACHE: join(folder, 'hub'),
      HF_TOKEN: '',
    };
    const script = blocksOf(page)
      .filter(({ language, notRun }) => ['sh', 'ts'].includes(language) && notRun === undefined)
      .map(({ language, code }, i) => {
        if (language === 'sh') return code;
        // A block of TypeScript is a file of its own.
        writeFileSync(join(folder, `block-${i}.mts`), code);
        return `npx tsx block-${i}.mts\n`;
      })
      .join('\n');
    expect(script).toContain('npx undrift');
    const found = await run('bash', ['-c', `set -euo pipefail\n${script}`], {
      cwd: folder,
      env,
      maxBuffer: 2 ** 26,
    }).catch((error) => error as Error & { stdout: string; stderr: string });
    expect(found instanceof Error ? `${found.message}\n${found.stdout}\n${found.stderr}` : '').toBe('');
  }
});

it.each(pages)('%s gives a reason for each command that is not run', (page) => {
  for (const { notRun } of blocksOf(page))
    if (notRun !== undefined) expect(notRun.length).toBeGreaterThan(20);
});

it('choosing-a-method.md quotes measured figures only', () => {
  const sources = ['experiments.md', 'fine-tuning.md', 'bm25.md'].map((page) =>
    readFileSync(join(root, 'docs', page), 'utf8').replaceAll('−', '-'),
  );
  const figures = read('choosing-a-method.md')
    .replaceAll('−', '-')
    .match(/[+-]?\d*\.\d{3,}/g)!;
  expect(figures.length).toBeGreaterThan(10);
  // The rules quote figures without their sign; advice.test.ts checks these.
  const known = sources.join('\n');
  expect(figures.filter((figure) => !known.includes(figure.replace(/^0(?=\.)/, '')))).toEqual([]);
});
