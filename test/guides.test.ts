import { execFile } from 'node:child_process';
import { chmodSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { scriptOf, writeExamples } from './example-scripts.ts';
import { fakeHub } from './fake-hub.ts';
import { natsProgram, noNats } from './nats-server.ts';
import { asJavaScript } from './plain-script.ts';
import { MAIN, runUndrift } from './run-undrift.ts';
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

/** 100 questions and answers about commands, of which dev and test are held out. */
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
  return Array.from({ length: 100 }, (_, i) => `${JSON.stringify(pair(i))}\n`).join('');
}

/** Server that runs commands of `undrift` in this process: a process of their own takes as long to start as to work. */
const commands = createServer((request, response) => {
  (async () => {
    const form = new URLSearchParams(await text(request));
    const env = Object.fromEntries(
      form
        .get('env')!
        .trim()
        .split('\n')
        .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    );
    const { code, ...written } = await runUndrift(form.getAll('word'), { cwd: form.get('cwd')!, env });
    for (const [name, words] of Object.entries(written)) writeFileSync(join(form.get('into')!, name), words);
    response.end(`${code}`);
  })().catch((error) => response.writeHead(500).end(String(error)));
});
await new Promise<void>((done) => commands.listen(0, '127.0.0.1', done));
const { port } = commands.address() as AddressInfo;
afterAll(() => void commands.close());

/** Makes the folder of a user: the data, the examples, and an `npx` that runs the package of this repository. */
function userFolder(): string {
  const folder = tempFiles({
    'pairs.jsonl': pairs(),
    // A command in the background, whose input is /dev/null, is a process of its own: a signal may end it.
    'bin/npx': `#!/bin/sh
program=$1; shift
case "$program" in
  undrift)
    if [ /dev/stdin -ef /dev/null ]; then exec "${process.execPath}" "${MAIN}" "$@"; fi
    for word; do set -- "$@" --data-urlencode "word=$word"; shift; done
    into=$(mktemp -d "${tmpdir()}/undrift-npx-XXXXXX")
    code=$(env | grep -E '^(HF|UNDRIFT)_' | curl -sSf http://127.0.0.1:${port} \\
      --data-urlencode env@- --data-urlencode "cwd=$PWD" --data-urlencode "into=$into" "$@")
    cat "$into/stdout"; cat "$into/stderr" >&2
    rm -r "$into"; exit "$code" ;;
  tsx) script=$1; shift; exec "${process.execPath}" "scripts/$(basename "\${script%.*ts}").mjs" "$@" ;;
  *) echo "no such program: $program" >&2; exit 127 ;;
esac
`,
  });
  chmodSync(join(folder, 'bin/npx'), 0o755);
  writeExamples(folder);
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
        writeFileSync(scriptOf(folder, `block-${i}.mts`), asJavaScript(code));
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
