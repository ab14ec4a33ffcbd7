import type { Architecture } from './architecture.ts';
import { bert } from './bert.ts';
import { distilbert } from './distilbert.ts';
import { gpt2 } from './gpt2.ts';
import { llama, qwen2, qwen3 } from './llama.ts';
import { modernbert } from './modernbert.ts';
import { mpnet } from './mpnet.ts';
import { roberta } from './roberta.ts';
import { staticEmbedding } from './static.ts';
import { t5 } from './t5.ts';
import { xlmRoberta } from './xlm-roberta.ts';

/** All architectures, by the `model_type` of their config.json. */
// biome-ignore lint/suspicious/noExplicitAny: each architecture has a config type of its own, made by `parseConfig`.
export const architectures: ReadonlyMap<string, Architecture<any>> = new Map(
  [
    bert,
    distilbert,
    gpt2,
    llama,
    modernbert,
    mpnet,
    qwen2,
    qwen3,
    roberta,
    t5,
    xlmRoberta,
    staticEmbedding,
  ].map((architecture) => [architecture.modelType, architecture]),
);
