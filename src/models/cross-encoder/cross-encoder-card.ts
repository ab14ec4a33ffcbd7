import { count } from '../../util/format.ts';
import {
  type CardFacts,
  factLines,
  resultsSection,
  table,
  trainingSection,
  yamlList,
} from '../folder/card-sections.ts';
import type { CrossEncoder } from './cross-encoder.ts';

/** Facts about a cross-encoder beyond the model itself. All are optional; the card claims nothing that is not given. */
export type CrossEncoderCard = CardFacts;

/** Writes the README of a cross-encoder's folder: a Hugging Face model card, with the YAML head that the hub reads. */
export function crossEncoderCard(crossEncoder: CrossEncoder, card: CrossEncoderCard): string {
  const { name = 'Cross-encoder' } = card;
  const sections = [
    head(card),
    `# ${name}`,
    `A cross-encoder: a transformer (\`${crossEncoder.config.model.model_type}\`) that reads a query and a document together and scores how well the document answers. It reranks what a search has found. Trained with Undrift.`,
    facts(crossEncoder),
    trainingSection(crossEncoder, card),
    resultsSection(card),
    USAGE,
  ];
  return `${sections.filter((section) => section !== '').join('\n\n')}\n`;
}

const head = (card: CrossEncoderCard): string =>
  [
    '---',
    'library_name: sentence-transformers',
    'pipeline_tag: text-ranking',
    ...yamlList('tags', ['sentence-transformers', 'cross-encoder', 'reranker', 'undrift']),
    ...factLines(card),
    ...yamlList('metrics', [...new Set((card.results ?? []).flatMap(({ metrics }) => Object.keys(metrics)))]),
    '---',
  ].join('\n');

function facts({ config, tokenizer, weights, trainedSteps }: CrossEncoder): string {
  const { activation, maxTokens, model } = config;
  const parameters = Object.values(weights).reduce((sum, { data }) => sum + data.length, 0);
  return table(
    ['', ''],
    [
      ['Architecture', `\`${model.model_type}\`, one label`],
      ['Parameters', count(parameters)],
      ['Vocabulary', `${count(tokenizer.vocabSize)} tokens`],
      ['Longest pair', `${count(maxTokens)} tokens; the longer text is cut first`],
      ['Scores', activation === 'sigmoid' ? 'from 0 to 1 (sigmoid of the logit)' : 'logits'],
      ['Training steps', count(trainedSteps)],
    ],
  );
}

const USAGE = `## Use

With Undrift:

\`\`\`ts
import { loadCrossEncoder } from 'undrift';

const crossEncoder = await loadCrossEncoder('path/to/model');
const ranked = await crossEncoder.rank('a question', ['a text', 'another text']); // [{ document, score }], best first
\`\`\`

With sentence-transformers:

\`\`\`python
from sentence_transformers import CrossEncoder

model = CrossEncoder("path/to/model")
scores = model.predict([("a question", "a text"), ("a question", "another text")])
\`\`\``;
