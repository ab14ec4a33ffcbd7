import { count } from '../util/format.ts';

/**
 * Formats a diagnosis for people: measured values, their theoretical bounds, and warnings.
 *
 * @param values  values as returned by `TableProbe`
 * @returns  lines of text
 */
export function formatDiagnosis({
  step,
  values,
}: {
  step: number;
  values: Readonly<Record<string, number>>;
}): string[] {
  const v = (name: string) => values[name] ?? Number.NaN;
  if (!(v('rows') > 0)) return [`step ${step}: the cache is still empty, there is nothing to diagnose`];
  const percent = (name: string) => `${short(100 * v(name))} %`;
  const vacuous = v('vacuousRatio');
  const lines = [
    `KL(P‖P̃) ${short(v('klStale'))}, at most ${short(v('klRangeBound'))} (range²/8) or ${short(v('klBound'))} (ε²/2)`,
    ...('klCorrected' in values
      ? [
          `corrected: KL(P‖P_h) ${short(v('klCorrected'))}, staleness ${short(v('stalenessCorrected'))}, ten best the same for ${percent('overlap@10Corrected')}` +
            ('errorRest' in values
              ? `; the error is ${percent('errorMeanShift')} a shift, ${percent('errorLinear')} linear, ${percent('errorRest')} neither`
              : ''),
        ]
      : []),
    `total variation ${short(v('totalVariation'))}, at most ${short(v('totalVariationBound'))} (tanh ε/2); ` +
      `ε up to ${short(v('scoreError'))}${vacuous > 0 ? `, above 2 for ${short(100 * vacuous)} % of the queries: there the bounds say nothing` : ''}`,
    `risk ${short(v('riskFresh'))} fresh, ${short(v('riskStale'))} stale: apart by ${short(Math.abs(v('riskFresh') - v('riskStale')))}, at most ${short(v('riskGapBound'))}`,
    ...['query', 'document'].map(
      (side) =>
        `gradient of the ${side === 'query' ? 'queries' : 'documents'} off by ${percent(`${side}GradientError`)}, ` +
        `at most ${percent(`${side}GradientErrorBound`)}; cosine ${v(`${side}GradientCosine`).toFixed(4)}`,
    ),
    `best document the same for ${percent('topAgreement')} of the queries, ten best for ${percent('overlap@10')}; ` +
      `p⁺ ${short(v('positiveProbabilityFresh'))} fresh, ${short(v('positiveProbabilityStale'))} stale; ` +
      `${percent('deadQueryRatio')} of the queries learn nothing`,
    ...('lipschitzEstimate' in values
      ? [
          `since the last time embeddings moved by ${short(v('embeddingChange'))}, weights by ${short(v('parameterChange'))}: L̂ ${short(v('lipschitzEstimate'))}`,
        ]
      : []),
    ...alarms(values).map((alarm) => `take care: ${alarm}`),
  ];
  const rows = count(v('rows'));
  return [
    `step ${step}: ${rows} cached embeddings against fresh ones: staleness ${short(v('staleness'))}`,
    ...lines.map((line) => `  ${line}`),
  ];
}

/** Lists the warnings described in docs/diagnostics.md. */
function alarms(values: Readonly<Record<string, number>>): string[] {
  const {
    staleness = 0,
    'overlap@10': overlap = 1,
    deadQueryRatio = 0,
    falseNegativeRatio = 0,
    positiveProbabilityFresh = 0,
    positiveProbabilityStale = 0,
  } = values;
  return [
    ...(falseNegativeRatio > 0 ? ['right answers are drawn as negatives; please report this'] : []),
    ...(staleness > 0.1 ? ['staleness above 0.1: refresh more often, or lower the learning rate'] : []),
    ...(values.correctorBypassed === 1
      ? ['the corrector is worse than none and is bypassed: give it more documents (--teaching-samples)']
      : []),
    ...(overlap < 0.5 ? ['most of what the cache takes for hardest is not: refresh more often'] : []),
    ...(Math.abs(positiveProbabilityFresh - positiveProbabilityStale) > 0.1
      ? ['p⁺ by the cache is far from the true one: the expectation loss is weighted wrongly']
      : []),
    ...(deadQueryRatio > 0.5 ? ['most queries are solved already: harder negatives are needed'] : []),
  ];
}

/** Formats a number with three significant digits and at most five decimal places. */
const short = (value: number): string =>
  Math.abs(value) < 1e-5
    ? '0'
    : Number(value.toPrecision(3)).toLocaleString('en-US', { maximumFractionDigits: 5 });
