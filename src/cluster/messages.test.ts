import { describe, expect, it } from 'vitest';
import { checkVersion } from './cluster.ts';
import { parseClusterAddress } from './cluster-address.ts';
import { parseManifest } from './model-store.ts';
import { formatRows, parseRows } from './row-list.ts';
import { decodeResults, decodeTokens, encodeResults, encodeTokens, HEADERS } from './row-messages.ts';
import { decodeTask, encodeTask } from './task.ts';

const DIGEST = 'ab'.repeat(32);
const task = { shard: 'docs', version: 'v1', model: DIGEST, dimension: 3, rows: Uint32Array.of(0, 1, 2, 7) };
const bytes = (json: unknown) => Buffer.from(JSON.stringify(json));

function results(rows: number, D: number) {
  return {
    version: 'v1',
    rows: Uint32Array.from({ length: rows }, (_, i) => 3 * i),
    marks: BigUint64Array.from({ length: rows }, (_, i) => (1n << 63n) + BigInt(i)),
    vectors: Float32Array.from({ length: rows * D }, (_, i) => Math.sin(i)),
  };
}
const headerOf = (headers: Readonly<Record<string, string>>) => (name: string) => headers[name] ?? '';

describe('lists of rows', () => {
  it('are ranges of ascending numbers', () => {
    for (const rows of [[], [0], [0, 1, 2], [5, 7, 8, 9, 11], [4_294_967_294, 4_294_967_295]]) {
      expect([...parseRows(formatRows(rows))]).toEqual(rows);
    }
    expect(formatRows([0, 1, 2, 9, 11, 12])).toBe('0-2,9,11-12');
  });

  it.each(['1,1', '2,1', '3-2', 'x', '1-', '1,,2', '-1', '0-99999999', '4294967296', '1.5'])(
    '%s is refused',
    (text) => {
      expect(() => parseRows(text)).toThrow('a list of rows is damaged');
    },
  );
});

describe('tasks', () => {
  it('come back as they were', () => {
    expect(decodeTask(encodeTask(task))).toEqual(task);
  });

  it.each([
    { ...task, rows: '0-2', shard: 'a.b' },
    { ...task, rows: '0-2', version: '' },
    { ...task, rows: '0-2', model: '../../etc' },
    { ...task, rows: '0-2', dimension: 0 },
    { ...task, rows: 7 },
    ['no object'],
  ])('a damaged one is refused: %j', (json) => {
    expect(() => decodeTask(bytes(json))).toThrow(/damaged|no JSON object/);
  });
});

describe('messages of results', () => {
  it('divide a block so that each fits, and keep its bits', () => {
    const block = results(100, 24);
    const parts = encodeResults(block, 'x', 4096);
    expect(parts).toHaveLength(Math.ceil(100 / Math.floor((4096 - 1024) / (12 + 96))));
    for (const { body, headers } of parts) {
      const size = Object.entries(headers).reduce(
        (sum, [name, value]) => sum + name.length + value.length + 4,
        12,
      );
      expect(body.length + size).toBeLessThanOrEqual(4096);
    }
    const read = parts.map(({ headers, body }) => decodeResults(headerOf(headers), body));
    expect(read.flatMap(({ rows }) => [...rows])).toEqual([...block.rows]);
    expect(read.flatMap(({ marks }) => [...marks])).toEqual([...block.marks]);
    expect(read.flatMap(({ vectors }) => [...vectors])).toEqual([...block.vectors]);
    expect(read.map(({ part, parts }) => `${part}/${parts}`)).toEqual(['0/4', '1/4', '2/4', '3/4']);
    expect(read[0]).toMatchObject({ version: 'v1', attempt: 'x', dimension: 24 });
  });

  it('a row that fits no message is refused', () => {
    expect(() => encodeResults(results(1, 4096), 'x', 8192)).toThrow('raise max_payload');
  });

  it('a changed bit, a missing header and a number that is not finite are refused', () => {
    const [{ headers, body }] = encodeResults(results(5, 4), 'x', 1 << 20) as [
      { headers: Record<string, string>; body: Uint8Array },
    ];
    const changed = Uint8Array.from(body);
    changed[70]! ^= 1;
    expect(() => decodeResults(headerOf(headers), changed)).toThrow('digest');
    for (const name of [HEADERS.version, HEADERS.attempt, HEADERS.dimension, HEADERS.dtype, HEADERS.digest]) {
      expect(() => decodeResults(headerOf({ ...headers, [name]: '' }), body), name).toThrow(
        'a result is damaged',
      );
    }
    expect(() => decodeResults(headerOf({ ...headers, [HEADERS.part]: '1' }), body)).toThrow('part 1 of 1');
    expect(() => decodeResults(headerOf({ ...headers, [HEADERS.dimension]: '5' }), body)).toThrow(
      'no whole rows',
    );
    const [wrong] = encodeResults(
      { ...results(1, 2), vectors: Float32Array.of(1, Number.NaN) },
      'x',
      1 << 20,
    );
    expect(() => decodeResults(headerOf(wrong!.headers), wrong!.body)).toThrow('not finite');
  });
});

describe('messages of tokens', () => {
  it.each([Uint16Array, Int32Array])('come back as they were (%o)', (Tokens) => {
    const tokens = {
      rows: Uint32Array.of(4, 9),
      lengths: Int32Array.of(3, 2),
      tokens: Tokens.from([1, 2, 3, 60_000, 5]),
      marks: BigUint64Array.of(1n, (1n << 64n) - 1n),
    };
    const read = decodeTokens(encodeTokens(tokens));
    expect(read).toEqual(tokens);
    expect(read.tokens).toBeInstanceOf(Tokens);
  });

  it('lengths that do not fit, and bytes that are missing, are refused', () => {
    const tokens = encodeTokens({
      rows: Uint32Array.of(4),
      lengths: Int32Array.of(3),
      tokens: Uint16Array.of(1, 2, 3),
      marks: BigUint64Array.of(1n),
    });
    const changed = Uint8Array.from(tokens);
    changed[16] = 2;
    for (const wrong of [changed, tokens.subarray(1), tokens.subarray(0, 8), new Uint8Array(0)])
      expect(() => decodeTokens(wrong)).toThrow('are damaged');
  });
});

describe('lists of files of a model', () => {
  const file = { path: 'tokenizer/a.json', size: 3, sha256: DIGEST };

  it('are read', () => {
    expect(parseManifest(bytes({ files: [file] }))).toEqual([file]);
  });

  it.each(['../x', '/etc/passwd', 'a/../../x', 'a//b', '.', 'C:\\x', '..\\x', ''])(
    'the path %j is refused',
    (path) => {
      expect(() => parseManifest(bytes({ files: [{ ...file, path }] }))).toThrow('leads out of the folder');
    },
  );

  it('without files, sizes or digests are refused', () => {
    for (const files of [[], [{ ...file, size: -1 }], [{ ...file, sha256: 'x' }], 'x'])
      expect(() => parseManifest(bytes({ files }))).toThrow('is damaged');
  });
});

describe('addresses', () => {
  it('have servers, a name, and a login that no message shows', () => {
    expect(parseClusterAddress('nats://host')).toMatchObject({
      servers: ['host:4222'],
      name: 'undrift',
      tls: false,
    });
    const address = parseClusterAddress('tls://me:p%40ss@a:1,tls://b.example/docs');
    expect(address).toMatchObject({
      servers: ['a:1', 'b.example:4222'],
      name: 'docs',
      tls: true,
      user: 'me',
      password: 'p@ss',
    });
    expect(address.shown).toBe('tls://a:1,b.example:4222/docs');
  });

  it.each([
    'http://host',
    'nats://',
    'nats://u:secret@host:0',
    'nats://u:secret@host/a/b',
    'nats://u:secret@ho st',
    'nats://u:secret@host/ä',
  ])('%s is refused without a word of its login', (text) => {
    expect(() => parseClusterAddress(text)).toThrow(/^(?!.*secret)/s);
  });
});

describe('servers', () => {
  it('before 2.10 are refused, before 2.11 noted', () => {
    const notes: string[] = [];
    const check = (version: string) => checkVersion(version, 'nats://h:4222/x', (note) => notes.push(note));
    for (const version of ['2.9.10', '1.4.1', '', 'x'])
      expect(() => check(version), version).toThrow('too old');
    for (const version of ['2.11.0', '2.15.1', '3.0.0', '2.11.0-beta.1']) check(version);
    expect(notes).toEqual([]);
    check('2.10.27');
    expect(notes).toEqual([
      'nats://h:4222/x runs nats-server 2.10.27: it works, 2.11 or later has fewer faults',
    ]);
  });
});
