import { describe, expect, it } from 'vitest';
import { UsageError } from '../util/errors.ts';
import { parseMetric, parseMetrics } from './metric-spec.ts';

describe('parseMetric', () => {
  it.each([
    ['ndcg@10', 'ndcg', 10],
    ['ndcg_exp@5', 'ndcg_exp', 5],
    ['mrr@10', 'mrr', 10],
    ['map@100', 'map', 100],
    ['recall@100', 'recall', 100],
    ['precision@10', 'precision', 10],
    ['success@5', 'success', 5],
    ['judged@10', 'judged', 10],
  ])('reads %s', (text, family, cutoff) => {
    expect(parseMetric(text)).toEqual({ name: text, family, cutoff });
  });

  it.each([
    ['nDCG@10', 'ndcg@10'],
    [' MRR@010 ', 'mrr@10'],
    ['map', 'map'],
    ['ndcg_cut_10', 'ndcg@10'],
    ['ndcg_cut.10', 'ndcg@10'],
    ['recip_rank', 'mrr'],
    ['P_5', 'precision@5'],
    ['P@5', 'precision@5'],
    ['RR@10', 'mrr@10'],
  ])('reads %s as %s', (text, name) => {
    expect(parseMetric(text).name).toBe(name);
  });

  it.each([
    ['ndgc@10', /unknown metric "ndgc@10", did you mean "ndcg@10"\?/],
    ['ndcg10', /did you mean "ndcg@10"\?/],
    ['recal@100', /did you mean "recall@100"\?/],
    ['precison', /did you mean "precision"\?/],
    ['constructor', /unknown metric "constructor"/],
    ['__proto__@3', /unknown metric/],
    ['wxyzuvw@3', /unknown metric "wxyzuvw@3"\n/],
    ['', /unknown metric ""/],
    ['recall', /"recall" needs a cutoff, for example recall@10/],
    ['ndcg@0', /cutoff of metric "ndcg@0" must be a whole number/],
    ['ndcg@-1', /cutoff/],
    ['ndcg@1.5', /cutoff/],
    ['ndcg@', /cutoff/],
    ['ndcg@1e9', /cutoff/],
    ['ndcg@99999999999999999999', /cutoff/],
    ['ndcg@10@5', /unknown metric/],
  ])('refuses "%s"', (text, message) => {
    expect(() => parseMetric(text)).toThrow(UsageError);
    expect(() => parseMetric(text)).toThrow(message);
  });
});

describe('parseMetrics', () => {
  it('reads comma lists and arrays and drops repetitions', () => {
    const names = (list: string | string[]) => parseMetrics(list).map(({ name }) => name);
    expect(names('ndcg@10, mrr@10,,map')).toEqual(['ndcg@10', 'mrr@10', 'map']);
    expect(names(['ndcg@10', 'NDCG@10'])).toEqual(['ndcg@10']);
    expect(() => parseMetrics(' , ')).toThrow(/no metric is named/);
  });
});
