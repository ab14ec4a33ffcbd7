import type { Corrector, CorrectorKind } from './corrector.ts';
import { type CorrectorOptions, type CorrectorPlan, correctorPlan } from './corrector-options.ts';
import { IdentityCorrector } from './identity.ts';
import { LinearCorrector } from './linear-corrector.ts';
import type { ClosedForm } from './linear-map.ts';
import { lowRank } from './low-rank.ts';
import { meanShift } from './mean-shift.ts';
import { MlpCorrector } from './mlp.ts';
import { procrustes } from './procrustes.ts';
import { ridge } from './ridge.ts';

/** Closed forms: the kinds that fit a linear map to all pairs at once. */
export const CLOSED_FORMS = {
  'mean-shift': meanShift,
  procrustes,
  ridge,
  'low-rank': lowRank,
} satisfies Partial<Record<CorrectorKind, (plan: CorrectorPlan) => ClosedForm>>;

/**
 * Creates a corrector. If D = D', it is the identity until it has learned.
 *
 * @throws UsageError for an unknown option, a value out of range, or sizes that this kind cannot serve
 */
export async function createCorrector(kind: CorrectorKind, options: CorrectorOptions): Promise<Corrector> {
  const plan = correctorPlan(kind, options);
  if (kind === 'identity') return new IdentityCorrector(plan);
  if (kind === 'mlp') return await MlpCorrector.create(plan);
  return new LinearCorrector(kind, plan, CLOSED_FORMS[kind](plan));
}
