import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { DataError } from '../util/errors.ts';
import { cleanData } from './clean-data.ts';
import { loadData } from './load.ts';

const lines = (...records: object[]) => records.map((record) => JSON.stringify(record)).join('\n');

const BEIR = {
  'corpus.jsonl': lines({ _id: 'd1', text: 'Paris is in France.' }, { _id: 'd2', text: 'Rome is in Italy.' }),
  'queries.jsonl': lines({ _id: 'q1', text: 'where is Paris' }, { _id: 'q2', text: 'where is Rome' }),
  'qrels/train.tsv': 'query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t1\n',
};
const folder = (answers: string, more: Record<string, string> = {}) =>
  tempFiles({ ...BEIR, 'answers.jsonl': answers, ...more });
const ofBeir = (answers: string, skipBadRows = 0) =>
  loadData(folder(answers), { answers: true, skipBadRows });

describe('answers of a BEIR folder', () => {
  it('are read in all forms, each once and in order, and only where they are asked for', async () => {
    const path = folder(
      lines({ _id: 'q1', answers: ['France', 'in France', 'France', ' '] }, { _id: 'q2', answers: 'Italy' }),
    );
    const data = await loadData(path, { answers: true });
    expect(data.answers!(0)).toEqual(['France', 'in France']);
    expect(data.answers!(1)).toEqual(['Italy']);
    const without = await loadData(path);
    expect(without.answers).toBeUndefined();
    expect(without.fingerprint).toBe(data.fingerprint);
    expect(without.fingerprint).not.toBe((await loadData(tempFiles(BEIR))).fingerprint);
    const other = await loadData(folder(lines({ _id: 'q1', answers: 'Gaul' })));
    expect(other.fingerprint).not.toBe(data.fingerprint);
  });

  it('take the form of SQuAD on the hub, and those of unknown queries are noted', async () => {
    const data = await ofBeir(
      lines(
        { _id: 'q2', answers: { text: ['Italy'], answer_start: [11] } },
        { _id: 'q9', answers: ['nothing'] },
      ),
    );
    expect(data.answers!(1)).toEqual(['Italy']);
    expect(data.answers!(0)).toEqual([]);
    expect(data.notes).toContain('left out the answers to 1 unknown query');
  });

  it.each([
    [{ _id: 'q1', answers: [3] }, /answers\.jsonl:1: field "answers".*each a string, not the number 3/],
    [{ _id: 'q1', answers: 3 }, /answers\.jsonl:1: field "answers" should be an answer or a list.*number 3/],
    [{ _id: 'q1', answers: [null] }, /answers\.jsonl:1: field "answers".*not null/],
    [{ _id: 'q1' }, /answers\.jsonl:1: no answers column/],
    [{ answers: ['x'] }, /answers\.jsonl:1: no id column/],
  ])('refuses %j by file and line', async (record, message) => {
    const loaded = ofBeir(lines(record, { _id: 'q2', answers: ['Italy'] }));
    await expect(loaded).rejects.toThrow(message);
    await expect(loaded).rejects.toThrow(DataError);
    const rest = await ofBeir(lines(record, { _id: 'q2', answers: ['Italy'] }), 1);
    expect(rest.answers!(1)).toEqual(['Italy']);
  });

  it('are undefined for a folder without the file', async () => {
    expect((await loadData(tempFiles(BEIR), { answers: true })).answers).toBeUndefined();
  });
});

it('answers of pairs come from a column, of all records of a query', async () => {
  const path = tempFiles({
    'pairs.jsonl': lines(
      { query: 'where is Paris', positive: 'Paris is in France.', answers: ['France'] },
      { query: 'where is Rome', positive: 'Rome is in Italy.' },
      { query: 'where is Paris', positive: 'The Seine flows through Paris.', answers: 'in France' },
    ),
  });
  const data = await loadData(`${path}/pairs.jsonl`, { answers: true, devFraction: 0, testFraction: 0 });
  expect(data.answers!(0)).toEqual(['France', 'in France']);
  expect(data.answers!(1)).toEqual([]);
  const ignored = await loadData(`${path}/pairs.jsonl`, { devFraction: 0, testFraction: 0 });
  expect(ignored.answers).toBeUndefined();
  expect(ignored.notes).toContain('columns not used: answers');
});

it('answers of data in memory are part of its fingerprint', async () => {
  const load = (answer: string) =>
    loadData(
      {
        documents: [{ id: 'd1', text: 'Paris is in France.' }],
        queries: [{ id: 'q1', text: 'where is Paris' }],
        judgements: { train: [{ queryId: 'q1', docId: 'd1' }] },
        answers: [{ id: 'q1', answers: [answer] }],
      },
      { answers: true },
    );
  const [one, other, again] = [await load('France'), await load('Europe'), await load('France')];
  expect(one.answers!(0)).toEqual(['France']);
  expect(other.fingerprint).not.toBe(one.fingerprint);
  expect(again.fingerprint).toBe(one.fingerprint);
});

it('answers stay with their queries when data is cleaned', async () => {
  const path = tempFiles({
    'pairs.jsonl': lines(
      ...['Paris', 'Rome', 'Bern'].map((city) => ({
        query: `where is ${city}`,
        positive: `${city} is a city.`,
        ...(city !== 'Rome' && { answers: [`near ${city}`] }),
      })),
    ),
  });
  const out = `${path}/clean`;
  await cleanData(`${path}/pairs.jsonl`, { out, devFraction: 0, testFraction: 0 });
  const data = await loadData(out, { answers: true });
  const answers = (text: string) => data.answers!([0, 1, 2].find((row) => data.queries.text(row) === text)!);
  expect(answers('where is Paris')).toEqual(['near Paris']);
  expect(answers('where is Rome')).toEqual([]);
  expect(answers('where is Bern')).toEqual(['near Bern']);
});
