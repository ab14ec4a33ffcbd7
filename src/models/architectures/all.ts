import type { Architecture } from '../architecture.ts';
import { bert } from './bert.ts';
import { staticEmbedding } from './static.ts';

/** Every architecture, by the `model_type` of its config.json. */
// biome-ignore lint/suspicious/noExplicitAny: each architecture has a config type of its own; `parseConfig` is what makes one.
export const architectures: ReadonlyMap<string, Architecture<any>> = new Map(
  [bert, staticEmbedding].map((architecture) => [architecture.modelType, architecture]),
);
