import { expect, it } from 'vitest';
import { formatDiagnosis } from './format-diagnosis.ts';

const values = {
  rows: 4096,
  rowsRatio: 1,
  staleness: 0.01234,
  embeddingDistance: 0.1,
  riskFresh: 0.82,
  riskStale: 0.85,
  riskGapBound: 1.2,
  scoreError: 0.8,
  scoreErrorRange: 1.1,
  klStale: 0.011,
  klBound: 0.22,
  klRangeBound: 0.0511,
  totalVariation: 0.05,
  totalVariationBound: 0.331,
  vacuousRatio: 0,
  queryGradientError: 0.0301,
  queryGradientErrorBound: 0.46,
  queryGradientCosine: 0.99961,
  documentGradientError: 0.025,
  documentGradientErrorBound: 0.5,
  documentGradientCosine: 0.9998,
  topAgreement: 0.9453,
  'overlap@10': 0.92,
  positiveProbabilityFresh: 0.441,
  positiveProbabilityStale: 0.436,
  deadQueryRatio: 0,
  falseNegativeRatio: 0,
};

it('puts what was measured beside what is possible', () => {
  expect(formatDiagnosis({ step: 100, values })).toEqual([
    'step 100: 4,096 cached embeddings against fresh ones: staleness 0.0123',
    '  KL(P‖P̃) 0.011, at most 0.0511 (range²/8) or 0.22 (ε²/2)',
    '  total variation 0.05, at most 0.331 (tanh ε/2); ε up to 0.8',
    '  risk 0.82 fresh, 0.85 stale: apart by 0.03, at most 1.2',
    '  gradient of the queries off by 3.01 %, at most 46 %; cosine 0.9996',
    '  gradient of the documents off by 2.5 %, at most 50 %; cosine 0.9998',
    '  best document the same for 94.5 % of the queries, ten best for 92 %; p⁺ 0.441 fresh, 0.436 stale; 0 % of the queries learn nothing',
  ]);
});

it('says what a corrector makes of it, and when it is bypassed', () => {
  const corrected = {
    klCorrected: 0.004,
    stalenessCorrected: 0.005,
    'overlap@10Corrected': 0.97,
    errorMeanShift: 0.5,
    errorLinear: 0.3,
    errorRest: 0.2,
  };
  const lines = formatDiagnosis({ step: 9, values: { ...values, ...corrected, correctorBypassed: 0 } });
  expect(lines[2]).toBe(
    '  corrected: KL(P‖P_h) 0.004, staleness 0.005, ten best the same for 97 %; ' +
      'the error is 50 % a shift, 30 % linear, 20 % neither',
  );
  expect(lines.filter((line) => line.includes('take care'))).toEqual([]);
  const worse = formatDiagnosis({ step: 9, values: { ...values, ...corrected, correctorBypassed: 1 } });
  expect(worse.at(-1)).toMatch(/worse than none and is bypassed/);
});

it('says where bounds are vacuous, what has moved, and what to take care of', () => {
  const lines = formatDiagnosis({
    step: 7,
    values: {
      ...values,
      vacuousRatio: 0.25,
      scoreError: 5.3,
      staleness: 0.2,
      falseNegativeRatio: 0.01,
      'overlap@10': 0.3,
      positiveProbabilityStale: 0.2,
      deadQueryRatio: 0.7,
      embeddingChange: 0.12,
      parameterChange: 0.53,
      lipschitzEstimate: 0.2264,
    },
  });
  expect(lines[2]).toMatch(/ε up to 5\.3, above 2 for 25 % of the queries: there the bounds say nothing$/);
  expect(lines).toContain('  since the last time embeddings moved by 0.12, weights by 0.53: L̂ 0.226');
  expect(lines.filter((line) => line.startsWith('  take care: '))).toEqual([
    expect.stringContaining('right answers are drawn as negatives'),
    expect.stringContaining('staleness above 0.1'),
    expect.stringContaining('refresh more often'),
    expect.stringContaining('p⁺ by the cache'),
    expect.stringContaining('harder negatives'),
  ]);
  expect(formatDiagnosis({ step: 3, values: { rows: 0 } })).toEqual([
    'step 3: the cache is still empty, there is nothing to diagnose',
  ]);
});
