import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type ModelCard, modelCard } from '../models/folder/model-card.ts';
import { usageSection } from '../models/folder/model-card-usage.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import type { Retriever, Side } from '../models/retriever/retriever.ts';
import { readText } from '../util/files.ts';

/** Heading of the last part of a card of ours. */
const USAGE = '\n## Use\n';

/**
 * Cards for an export of a model folder: what the model's own card says of its training and results stays, and only how to load it is
 * new. Without a card of ours, what the model itself tells.
 *
 * @returns  the card of one tower of a pair, or of the whole
 */
export async function exportedCards(
  folder: string,
  retriever: Retriever,
  exported: Required<Pick<ModelCard, 'formats' | 'dtypes'>>,
): Promise<(tower?: Side) => string> {
  const fresh = { ...exported, embeddingSpace: embeddingSpaceId(retriever) };
  const cards = new Map<Side | undefined, string>();
  for (const tower of [undefined, 'query', 'document'] as const) {
    const file = join(folder, tower ?? '', 'README.md');
    const text = existsSync(file) ? await readText(file) : '';
    const end = text.indexOf(USAGE);
    // A card that names another space was not made for this model as it is now.
    const isOurs = end >= 0 && text.includes(fresh.embeddingSpace);
    cards.set(
      tower,
      isOurs
        ? `${text.slice(0, end + 1)}${usageSection(retriever, { tower, ...exported })}\n`
        : modelCard(retriever, fresh, tower),
    );
  }
  return (tower) => cards.get(tower)!;
}
