import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type ModelCard, modelCard } from '../models/folder/model-card.ts';
import { usageSection } from '../models/folder/model-card-usage.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import type { Retriever, Side } from '../models/retriever/retriever.ts';
import { readText } from '../util/files.ts';

/** Heading of the last section of a card that Undrift wrote. */
const USAGE = '\n## Use\n';

/**
 * Makes the model cards of an exported model folder.
 *
 * If the folder has a card by Undrift for this model, its text on training and results is kept and only the
 * section on loading is new. Otherwise a card is made from the model itself.
 *
 * @returns a function that gives the card of one tower of a pair, or of the whole model without an argument
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
    // A card with another embedding space was not made for the present state of this model.
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
