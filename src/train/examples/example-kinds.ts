import type { Method } from '../../methods/contract/method.ts';
import type { ExampleKind } from './example-kind.ts';
import { pairs } from './pairs.ts';
import { scoredPairs } from './scored-pairs.ts';
import { texts } from './texts.ts';

const KINDS: Readonly<Record<NonNullable<Method['trainsOn']>, ExampleKind>> = {
  pairs,
  texts,
  'scored-pairs': scoredPairs,
};

/** Returns the kind of example that a method trains on. */
export const exampleKind = ({ trainsOn = 'pairs' }: Pick<Method, 'trainsOn'>): ExampleKind => KINDS[trainsOn];
