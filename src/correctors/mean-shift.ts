import type { CorrectorPlan } from './corrector-options.ts';
import type { ClosedForm } from './linear-map.ts';

/** Fits  m(b) = b + (ȳ − x̄):  every embedding moves as the mean does. */
export function meanShift({ dimension }: CorrectorPlan): ClosedForm {
  return {
    parts: { shift: [dimension] },
    fit: ({ meanStale, meanFresh }) => ({
      shift: Float32Array.from(meanStale, (x, i) => meanFresh[i]! - x),
    }),
    dispose: async () => {},
  };
}
