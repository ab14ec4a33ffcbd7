import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DataError, UndriftError } from '../util/errors.ts';
import { EventLog, type EventLogOptions, readEventLog } from './event-log.ts';

let folder: string;
let file: string;
let clockMs: number;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'undrift-log-'));
  file = join(folder, 'metrics.jsonl');
  clockMs = 1_700_000_000_000;
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const open = (options: EventLogOptions = {}) =>
  EventLog.open(folder, { tensorBoard: false, now: () => clockMs, ...options });
const text = () => readFile(file, 'utf8');

/** Steps `from` to `to` of a run, each a second long and followed by an evaluation every third step. */
function train(log: EventLog, from: number, to: number) {
  for (let step = from; step <= to; step++) {
    clockMs += 1000;
    log.write({ step, epoch: step / 10, kind: 'train', values: { loss: 1 / step, learningRate: 3e-4 } });
    if (step % 3 === 0)
      log.write({ step, epoch: step / 10, kind: 'eval', values: { 'ndcg@10': step / 100 } });
  }
}

describe('EventLog', () => {
  it('writes one JSON object a line, at once', async () => {
    const log = await open();
    clockMs += 1500.4;
    const event = { step: 1, epoch: 0.5, kind: 'train', values: { loss: 0.25 } };
    expect(log.write(event)).toEqual({ ...event, wallMs: 1500 });
    expect(await text()).toBe('{"step":1,"epoch":0.5,"wallMs":1500,"kind":"train","loss":0.25}\n');
    log.close();
  });

  it('keeps NaN and infinities', async () => {
    const log = await open();
    const values = { loss: Number.NaN, norm: Infinity, low: -Infinity, fine: -0.5 };
    log.write({ step: 1, epoch: 0, kind: 'train', values });
    log.close();
    expect(await text()).toBe(
      '{"step":1,"epoch":0,"wallMs":0,"kind":"train","loss":null,"norm":null,"low":null,"fine":-0.5,' +
        '"nonFinite":{"loss":"NaN","norm":"Infinity","low":"-Infinity"}}\n',
    );
    expect((await readEventLog(file))[0]!.values).toEqual(values);
  });

  it('refuses what would make the log ambiguous', async () => {
    const log = await open();
    const event = { step: 1, epoch: 0, kind: 'train', values: {} };
    expect(() => log.write({ ...event, values: { step: 1 } })).toThrow(/cannot be named "step"/);
    expect(() => log.write({ ...event, step: 1.5 })).toThrow(/whole number/);
    expect(() => log.write({ ...event, epoch: Number.NaN })).toThrow(/finite/);
    log.close();
    log.close();
    expect(() => log.write(event)).toThrow(/is closed for logging/);
    expect(await text()).toBe('');
  });

  it('does not write over the log of another run', async () => {
    const log = await open();
    train(log, 1, 2);
    log.close();
    const before = await text();
    await expect(open()).rejects.toThrow(UndriftError);
    await expect(open()).rejects.toThrow(/is the log of another run\n {2}help: choose another output folder/);
    expect(await text()).toBe(before);
  });

  it('says so when it cannot write', async () => {
    await writeFile(join(folder, 'taken'), '');
    await expect(EventLog.open(join(folder, 'taken'))).rejects.toThrow(UndriftError);
  });
});

describe('resuming', () => {
  const withoutWall = async () => (await text()).replaceAll(/"wallMs":\d+/g, '"wallMs":0');

  it.each([0, 1, 6, 8, 10])('from step %d gives the log of an uninterrupted run', async (resumeStep) => {
    const whole = await open();
    train(whole, 1, 12);
    whole.close();
    const expected = await withoutWall();
    await rm(file);

    const first = await open();
    train(first, 1, 10);
    await appendFile(file, '{"step":11,"epoch":1.1,"wall'); // killed while writing
    const second = await open({ resumeStep });
    train(second, resumeStep + 1, 12);
    second.close();
    first.close();
    expect(await withoutWall()).toBe(expected);
    expect(await readdir(folder)).toEqual(['metrics.jsonl']);
  });

  it('continues the time of the kept lines, without the pause', async () => {
    const first = await open();
    train(first, 1, 5);
    first.close();
    clockMs += 3_600_000;
    const second = await open({ resumeStep: 4 });
    train(second, 5, 6);
    second.close();
    expect(
      (await readEventLog(file)).filter(({ kind }) => kind === 'train').map(({ wallMs }) => wallMs),
    ).toEqual([1000, 2000, 3000, 4000, 5000, 6000]);
  });

  it('counts by the clock of the run, where it has one', async () => {
    let elapsedMs = 40;
    const first = await open({ elapsedMs: () => elapsedMs });
    first.write({ step: 1, epoch: 0, kind: 'train', values: {} });
    clockMs += 5000;
    elapsedMs = 60;
    first.write({ step: 2, epoch: 0, kind: 'train', values: {} });
    first.close();
    const second = await open({ resumeStep: 2, elapsedMs: () => 7 });
    second.write({ step: 3, epoch: 0, kind: 'train', values: {} });
    second.close();
    expect((await readEventLog(file)).map(({ wallMs }) => wallMs)).toEqual([40, 60, 67]);
  });

  it('starts a log where there is none', async () => {
    const log = await open({ resumeStep: 7 });
    train(log, 8, 8);
    log.close();
    expect((await readEventLog(file)).map(({ step }) => step)).toEqual([8]);
  });

  it.each([
    ['a cut object', '{"step":3,"ep'],
    ['zeros', '\0\0\0\0'],
    ['half an umlaut', Buffer.from([0x7b, 0x22, 0xc3])],
  ])('drops a last line of %s', async (_, tail) => {
    const first = await open();
    train(first, 1, 2);
    first.close();
    const before = await text();
    await appendFile(file, tail);
    expect(await readEventLog(file)).toHaveLength(2);
    const second = await open({ resumeStep: 2 });
    second.close();
    expect(await text()).toBe(before);
  });

  it.each([
    ['no JSON', 'loss 0.5', /metrics\.jsonl:3: not a JSON object/],
    ['an array', '[1]', /:3: not a JSON object/],
    ['no step', '{"epoch":1,"wallMs":2,"kind":"train"}', /:3: not an event/],
    [
      'a text for a number',
      '{"step":3,"epoch":1,"wallMs":2,"kind":"train","loss":"low"}',
      /:3: "loss" is not a number/,
    ],
  ])('refuses a log with %s in the middle, and leaves it', async (_, line, message) => {
    const first = await open();
    train(first, 1, 2);
    await appendFile(file, `${line}\n`);
    train(first, 4, 5);
    first.close();
    const before = await text();
    await expect(open({ resumeStep: 5 })).rejects.toThrow(DataError);
    await expect(open({ resumeStep: 5 })).rejects.toThrow(message);
    expect(await text()).toBe(before);
  });
});

describe('TensorBoard files', () => {
  const board = () => join(folder, 'tensorboard');

  it('hold the same numbers, and a second one after resumption', async () => {
    const first = await open({ tensorBoard: true });
    train(first, 1, 3);
    first.close();
    const [name] = await readdir(board());
    const bytes = await readFile(join(board(), name!));
    const count = (tag: string) => bytes.toString('latin1').split(tag).length - 1;
    expect([count('train/loss'), count('train/learningRate'), count('eval/ndcg@10')]).toEqual([3, 3, 1]);
    // The value of loss at step 3: field 2 of the summary value, a little-endian float.
    const third = Buffer.concat([
      Buffer.from('train/loss'),
      Buffer.of(0x15),
      Buffer.from(Float32Array.of(1 / 3).buffer),
    ]);
    expect(bytes.includes(third)).toBe(true);

    const second = await open({ tensorBoard: true, resumeStep: 2 });
    train(second, 3, 3);
    second.close();
    expect(await readdir(board())).toHaveLength(2);
    expect(await readEventLog(file)).toHaveLength(4);
  });

  it('leave no open log behind where they cannot be made', async () => {
    await writeFile(board(), 'in the way');
    await expect(open({ tensorBoard: true })).rejects.toThrow(UndriftError);
    const log = await open();
    log.close();
  });
});
