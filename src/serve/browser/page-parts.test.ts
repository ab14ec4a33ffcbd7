import { describe, expect, it } from 'vitest';
import { readAddress, writeAddress } from './address.ts';
import { type Ages, blockText, freshness, pictureLabel, versionBands } from './age-picture.ts';
import { splitCitations } from './citations.ts';
import { clusterAges, shardText } from './cluster-view.ts';
import { formatEvent, readEvents } from './event-stream.ts';
import { bytesText, duration, RateMeter, workText } from './progress.ts';
import { changesIn, compareRankings, rankingChoices } from './rankings.ts';
import { comparisonText } from './result-list.ts';

describe('two rankings', () => {
  it('are compared by overlap and by ranks', () => {
    const [first, second] = [
      ['a', 'b', 'c'],
      ['c', 'x', 'a', 'y'],
    ];
    expect(compareRankings(first, second)).toEqual({ shared: 2, size: 4, meanMove: 2 });
    expect(changesIn(first, second)).toEqual([
      { other: 3, higher: 2 },
      { other: undefined, higher: 0 },
      { other: 1, higher: -2 },
    ]);
    expect(comparisonText(compareRankings(first, second))).toBe(
      '2 of 4 passages are in both columns, which differ by 2.0 ranks on average.',
    );
    expect(compareRankings(['a'], [])).toEqual({ shared: 0, size: 1, meanMove: 0 });
  });

  it('are those that the store allows', () => {
    const space = (id: string, current: boolean, rows: number) => ({
      id,
      model: `runs/${id}/model`,
      current,
      rows,
    });
    expect(rankingChoices({ spaces: [] }).map(({ key }) => key)).toEqual(['bm25']);
    const spaces = [space('old', false, 9), space('new', true, 3), space('empty', false, 0)];
    expect(rankingChoices({ spaces }).map(({ key, name }) => [key, name])).toEqual([
      ['hybrid', 'Hybrid'],
      ['dense', 'Dense'],
      ['bm25', 'BM25'],
      ['dense@old', 'Dense by old/model'],
      ['hybrid@old', 'Hybrid by old/model'],
    ]);
    expect(rankingChoices({ spaces: [], reranker: 'cross' })[1]).toMatchObject({
      key: 'bm25+rerank',
      name: 'BM25, reranked',
      rerank: true,
    });
  });
});

describe('the shards of a cluster', () => {
  const shard = (
    name: string,
    version: string,
    rows: number,
    versions: readonly [string, number, number][],
  ) => ({
    ...{ name, version, rows, stale: 0, rowsPerSecond: 0, secondsLeft: 0, workers: 0, deadLetters: 0 },
    ...{ hasOwner: true, coordinator: '', problem: '' },
    versions: versions.map(([id, step, count]) => ({ id, step, rows: count })),
  });

  it('are drawn as blocks of one corpus, wanted versions first', () => {
    const first = shard('a', 'new', 10, [
      ['old', 7, 3],
      ['new', 5, 6],
    ]);
    const second = shard('b', 'new', 30, [
      ['older', 1, 10],
      ['new', 5, 20],
    ]);
    const ages = clusterAges({ rows: 40, shards: [first, second] });
    expect(ages.versions).toEqual([
      { model: 'new', steps: [5, 5], current: true, passages: 26 },
      { model: 'old', steps: [7, 7], current: false, passages: 3 },
      { model: 'older', steps: [1, 1], current: false, passages: 10 },
    ]);
    expect(ages.missing).toBe(1);
    expect(ages.cells.map(({ passages, versions }) => [passages, versions])).toEqual([
      [10, [6, 3, 0]],
      [30, [20, 0, 10]],
    ]);
  });

  it('have a rate and a time left while rows are stored', () => {
    const text = (stale: number, rowsPerSecond: number, secondsLeft: number | null) =>
      shardText({ rows: 2000, stale, rowsPerSecond, secondsLeft });
    expect(text(500, 10, 50)).toBe('1,500 of 2,000 passages (75.0 %) · 10 per second · 50 s left');
    expect(text(500, 0, null)).toBe('1,500 of 2,000 passages (75.0 %) · nothing is being stored');
    expect(text(0, 10, 0)).toBe('2,000 of 2,000 passages (100.0 %)');
  });
});

it('a search is written to the address and read from it', () => {
  const address = { query: 'what & why #1 é', first: 'dense@abc', second: 'bm25', filter: 'year>=2020' };
  expect(readAddress(writeAddress(address))).toEqual(address);
  expect(writeAddress({ query: '', first: '', second: '', filter: '' })).toBe('#');
  expect(readAddress('#%')).toMatchObject({ query: '' });
});

it('citations become links only where the passage exists', () => {
  expect(splitCitations('It is [1]. See [2, 3] and [9], [x] [0].', 3)).toEqual([
    { text: 'It is ' },
    { cited: 1 },
    { text: '. See ' },
    { cited: 2 },
    { cited: 3 },
    { text: ' and [9], [x] [0].' },
  ]);
});

describe('progress', () => {
  it('has a rate over the last minute, and begins again where the count falls', () => {
    const meter = new RateMeter();
    expect(meter.add(100, 0)).toBeUndefined();
    expect(meter.add(100, 1000)).toBeUndefined();
    expect(meter.add(300, 2000)).toBe(100);
    expect(meter.add(400, 100_000)).toBeUndefined();
    expect(meter.add(900, 110_000)).toBe(50);
    expect(meter.add(10, 111_000)).toBeUndefined();
  });

  it('is told in words', () => {
    expect(workText({ done: 4096, total: 20_000, rate: 310.4, secondsLeft: 51.2 })).toBe(
      '4,096 of 20,000 passages (20.5 %) · 310 per second · 51 s left',
    );
    expect(workText({ done: 0, total: 0, rate: undefined, secondsLeft: undefined })).toBe(
      '0 of 0 passages (100.0 %)',
    );
    expect([59.4, 200, 7500, 250_000].map(duration)).toEqual(['59 s', '3 min 20 s', '2 h 5 min', '3 days']);
    expect([0, 999, 21_400_000].map(bytesText)).toEqual(['0 bytes', '999 bytes', '21.4 MB']);
  });
});

describe('the picture of ages', () => {
  const ages: Ages = {
    passages: 6,
    missing: 1,
    versions: [
      { model: 'new', steps: [600, 600], current: true, passages: 3 },
      { model: 'old', steps: [0, 99], current: false, passages: 2 },
    ],
    cells: [
      { passages: 4, versions: [2, 1], time: 5000 },
      { passages: 2, versions: [1, 1], time: 1000 },
      { passages: 0, versions: [0, 0], time: null },
    ],
  };

  it('divides a block by versions, the newest at the bottom, and leaves what has no vector empty', () => {
    expect(versionBands(ages.cells[0]!)).toEqual([
      { from: 0, height: 0.5, color: 'age-0' },
      { from: 0.5, height: 0.25, color: 'age-1' },
    ]);
    expect(versionBands(ages.cells[2]!)).toEqual([]);
  });

  it('shades blocks from the oldest to the newest', () => {
    expect(freshness(ages.cells)).toEqual([1, 0, null]);
    expect(freshness([{ passages: 1, versions: [1], time: 7 }])).toEqual([1]);
    expect(freshness([])).toEqual([]);
  });

  it('is described in words', () => {
    expect(pictureLabel(ages)).toBe(
      '6 passages in the order in which they were added: 50.0 % by new · step 600, 33.3 % by old · steps 0 to 99, ' +
        '16.7 % without a vector.',
    );
    expect(blockText(ages, 0, 65_000)).toBe(
      'Block 1 of 3: 4 passages · 50.0 % new · step 600, 25.0 % old · steps 0 to 99, 25.0 % without a vector · ' +
        'embedded 1 min 0 s ago on average',
    );
    expect(blockText(ages, 2, 0)).toBe('Block 3: its passages were removed');
  });
});

describe('a stream of events', () => {
  const read = async (text: string, size: number) => {
    const bytes = new TextEncoder().encode(text);
    const parts = (async function* () {
      for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
    })();
    const events = [];
    for await (const event of readEvents(parts)) events.push(event);
    return events;
  };

  it.each([1, 2, 3, 1000])('is read from parts of %i bytes', async (size) => {
    const text =
      ': hello\r\n\r\nevent: a\r\ndata: é1\r\ndata:2\r\n\r\ndata: {"x":1}\n\nevent: empty\n\ndata\r\rdata: cut off';
    expect(await read(text, size)).toEqual([
      { event: 'a', data: 'é1\n2' },
      { event: 'message', data: '{"x":1}' },
      { event: 'message', data: '' },
    ]);
  });

  it('is written as it is read, and refused where a line never ends', async () => {
    expect(await read(formatEvent({ event: 'text', data: 'a\nb' }), 5)).toEqual([
      { event: 'text', data: 'a\nb' },
    ]);
    await expect(read(`data: ${'x'.repeat(2 ** 21)}`, 2 ** 16)).rejects.toThrow(/too long/);
  });
});
