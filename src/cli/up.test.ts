import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MAIN, runUndrift } from '../../test/run-undrift.ts';
import { tempFiles } from '../../test/temp-files.ts';

const note = (i: number) =>
  `# Note ${i}\n\nHow to undo commit number ${i} and keep the files of branch ${i * 7}.\n`;
const files = {
  'docs/a.md': note(1),
  'docs/in/b.txt': 'A paragraph about rebasing one branch onto another.',
  'docs/c.jsonl':
    '{"_id":"x","text":"a record about stashes","year":2021}\n{"_id":"y","text":"a record about tags"}\n',
  'docs/d.csv': 'id,title,text\n1,Remotes,"how to add a remote, and remove it"\n',
};

/** Starts `undrift up` in a folder. `until` is called with each part of stderr, and sends SIGINT when it returns true. */
async function up(
  folder: string,
  args: readonly string[],
  until: (stderr: string) => Promise<boolean> | boolean,
) {
  const child = spawn(process.execPath, [MAIN, 'up', ...args, '--json', '--threads', '1'], { cwd: folder });
  let stdout = '';
  let stderr = '';
  let isDone = false;
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', async (text) => {
    stderr += text;
    if (isDone || !(await until(stderr))) return;
    isDone = true;
    child.kill('SIGINT');
  });
  const [code] = await once(child, 'close');
  return { code, stderr, json: stdout === '' ? undefined : JSON.parse(stdout) };
}

/** Runs `undrift up` where it cannot begin, in this process. */
const refused = (folder: string, args: readonly string[]) =>
  runUndrift(['up', ...args, '--json', '--threads', '1'], { cwd: folder });

const address = (stderr: string) => /open (http:\S+) in a browser/.exec(stderr)?.[1];

/** Runs `undrift up` until it serves, searches, and stops it. */
async function upAndSearch(folder: string, query: string, args: readonly string[] = []) {
  let ids: string[] = [];
  const run = await up(folder, ['docs', '--port', '0', ...args], async (stderr) => {
    const url = address(stderr);
    if (url === undefined) return false;
    const response = await fetch(`${url}/search`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query, mode: 'bm25' }),
    });
    ids = ((await response.json()) as { results: { id: string }[] }).results.map(({ id }) => id);
    return true;
  });
  return { ...run, ids };
}

describe('undrift up', () => {
  it('serves a folder of texts and tables, and follows its changes', async () => {
    const folder = tempFiles(files);
    const first = await upAndSearch(folder, 'record about stashes');
    expect([first.code, first.ids[0]]).toEqual([0, 'c.jsonl#x']);
    expect(first.json).toEqual({ store: 'undrift-store', url: expect.stringMatching(/^http:/) });
    expect(first.stderr).toMatch(/5 passages: 5 new, 0 changed, 0 as before\n/);
    expect(existsSync(join(folder, 'undrift-store', 'training'))).toBe(false);

    rmSync(join(folder, 'docs/in/b.txt'));
    writeFileSync(join(folder, 'docs/a.md'), note(2));
    writeFileSync(join(folder, 'docs/e.md'), note(3));
    const second = await upAndSearch(folder, 'rebasing paragraph');
    expect(second.stderr).toMatch(/5 passages: 1 new, 1 changed, 3 as before; 1 removed\n/);
    expect(second.ids).toEqual([]);
    const stored = await upAndSearch(folder, 'undo commit', ['--no-index']);
    expect(stored.ids.sort()).toEqual(['a.md#1', 'e.md#1']);

    const other = tempFiles({ 'z.md': 'other' });
    const { code, stderr } = await refused(folder, [other, '--port', '0']);
    expect([code, stderr]).toEqual([
      2,
      expect.stringMatching(/has the documents of .*docs\n.*name another --store/),
    ]);
  }, 240_000);

  it('leaves nothing behind where it cannot begin', async () => {
    const folder = tempFiles(files);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const taken = String((server.address() as AddressInfo).port);
    for (const [args, message, expected] of [
      [['docs', '--port', taken], /the port is in use/, 1],
      [
        ['docs', '--answer-url', 'x', '--answer-model', 'm', '--port', '0'],
        /--answer-url must be an address/,
        2,
      ],
      [['nowhere', '--port', '0'], /nowhere: no such file or folder/, 1],
    ] as const) {
      const { code, stderr, stdout } = await refused(folder, args);
      expect(stderr).toMatch(message);
      expect([code, JSON.parse(stdout)]).toEqual([expected, { error: expect.anything() }]);
    }
    expect(existsSync(join(folder, 'undrift-store'))).toBe(false);
    server.close();
  }, 240_000);

  it('stops while it trains, and goes on', async () => {
    const folder = tempFiles(files);
    const { code, json } = await up(folder, ['docs', '--port', '0'], (stderr) =>
      /is trained on the documents/.test(stderr),
    );
    expect([code, json]).toEqual([1, { store: 'undrift-store', stopped: true }]);
    expect((await upAndSearch(folder, 'stashes')).ids).toEqual(['c.jsonl#x']);
  }, 240_000);
});
