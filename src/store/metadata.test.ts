import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { streamDocuments } from '../data/stream-documents.ts';
import { parseCondition } from './filter.ts';
import { indexPassages } from './index-passages.ts';
import { Store } from './store.ts';
import { StoreSearcher } from './store-searcher.ts';

const retriever = smallRetriever({ kind: 'static' });
const compute = { threads: 1 };
const fixture = (name: string) => fileURLToPath(new URL(`../data/fixtures/${name}`, import.meta.url));

/** Indexes a file, and returns a function that finds the ids of the passages that fulfil conditions. */
async function indexed(path: string) {
  const store = await Store.open(join(tempFiles(), 'store'), {
    create: { language: 'any', stem: false, stopWords: false },
  });
  await indexPassages(store, retriever, streamDocuments(path), compute);
  const searcher = new StoreSearcher(store, compute);
  return async (...conditions: string[]) => {
    const found = await searcher.search('a file', { mode: 'dense', filter: conditions.map(parseCondition) });
    return found.map(({ id }) => id).sort();
  };
}

describe('fields of documents as metadata', () => {
  let parquet: Awaited<ReturnType<typeof indexed>>;
  let csv: typeof parquet;
  let jsonl: typeof parquet;
  beforeAll(async () => {
    parquet = await indexed(fixture('documents.parquet'));
    const folder = tempFiles({
      'docs.csv':
        'id,text,year,draft,code,date\na,one,2020,true,007,2024-01-05\nb,two,2021,,,2023-12-31\nc,three,,false,8,\n',
      'docs.jsonl': [
        {
          _id: 'a',
          text: 'one',
          'a.b': 1,
          of: { who: { name: 'x y' } },
          size: 3,
          when: '2024-01-05',
          none: null,
        },
        { _id: 'b', text: 'two', metadata: { size: 4, of: { who: { name: 'a"b' } } }, tags: [1, 'x'] },
        { _id: 'c', text: 'three', size: '10', of: { who: 7 } },
      ]
        .map((record) => `${JSON.stringify(record)}\n`)
        .join(''),
    });
    csv = await indexed(join(folder, 'docs.csv'));
    jsonl = await indexed(join(folder, 'docs.jsonl'));
  }, 60_000);

  it.each([
    ['year=2020', ['a']],
    ['year>2020', []],
    ['price>=1.5', ['a']],
    ['flag=true', ['a']],
    ['flag=false', []],
    ['when>=2024-01-05', ['a']],
    ['when<2024-01-05T12', []],
    ['day>=2024-01-05', ['a']],
    ['tags~io', ['a']],
    ['of.part="x y"', ['a']],
    ['of.part>x', ['a']],
    ['of.page=3', ['a']],
    ['big="1152921504606846976"', ['a']],
    ['nothing=1', []],
    ['year!=2020', ['b']],
  ])('of Parquet: %s', async (condition, expected) => {
    expect(await parquet(condition)).toEqual(expected);
  });

  it.each([
    ['year>=2020', ['a', 'b']],
    ['year<2021', ['a']],
    ['year="2020"', ['a']],
    ['draft=true', ['a']],
    ['draft!=true', ['b', 'c']],
    ['code=7', ['a']],
    ['code="007"', ['a']],
    ['code="7"', []],
    ['date>=2024', []],
    ['date>=2024-01-01', ['a']],
    ['date<2024-01-01', ['b']],
  ])('of CSV, whose fields are texts: %s', async (condition, expected) => {
    expect(await csv(condition)).toEqual(expected);
  });

  it.each([
    ['size>3', ['b', 'c']],
    ['size<=3', ['a']],
    ['size>abc', []],
    ['size<5x', ['c']],
    ['a.b=1', ['a']],
    ['of.who.name=x y', ['a']],
    ['of.who.name>b', ['a']],
    ['of.who.name<b', ['b']],
    ["of.who.name='a\"b'", ['b']],
    ['of.who=7', ['c']],
    ['tags~x', ['b']],
    ['tags~1', ['b']],
    ['when>2023', []],
    ['when>2023-1', ['a']],
    ['none=null', []],
  ])('of JSONL: %s', async (condition, expected) => {
    expect(await jsonl(condition)).toEqual(expected);
  });
});
