import { count } from '../../util/format.ts';
import {
  type CardFacts,
  factLines,
  resultsSection,
  table,
  trainingSection,
  yamlList,
} from '../folder/card-sections.ts';
import type { LanguageModel } from './language-model.ts';

/** Facts about a language model beyond the model itself. All are optional; the card claims nothing that is not given. */
export type LanguageModelCard = CardFacts;

/** Writes the README of a language model's folder: a Hugging Face model card, with the YAML head that the hub reads. */
export function languageModelCard(
  model: LanguageModel,
  trainedSteps: number,
  card: LanguageModelCard,
): string {
  const { name = 'Language model' } = card;
  const sections = [
    head(card),
    `# ${name}`,
    `A language model: a causal decoder (\`${model.decoder.config.model_type}\`) that predicts the next token of a text. Saved by Undrift.`,
    modelFacts(model, trainedSteps),
    trainingSection({ trainedSteps }, card),
    resultsSection(card),
    USAGE,
  ];
  return `${sections.filter((section) => section !== '').join('\n\n')}\n`;
}

const head = (card: LanguageModelCard): string =>
  [
    '---',
    'library_name: transformers',
    'pipeline_tag: text-generation',
    ...yamlList('tags', ['text-generation', 'undrift']),
    ...factLines(card),
    '---',
  ].join('\n');

/** Writes the table of facts on a model that predicts tokens. */
export function modelFacts(
  { decoder, tokenizer, weights }: Pick<LanguageModel, 'decoder' | 'tokenizer' | 'weights'>,
  trainedSteps: number,
): string {
  const parameters = Object.values(weights).reduce((sum, { data }) => sum + data.length, 0);
  return table(
    ['', ''],
    [
      ['Architecture', `\`${decoder.config.model_type}\``],
      ['Parameters', count(parameters)],
      ['Vocabulary', `${count(tokenizer.vocabSize)} tokens`],
      ...(decoder.maxTokens === undefined ? [] : [['Longest text', `${count(decoder.maxTokens)} tokens`]]),
      ['Training steps', count(trainedSteps)],
    ],
  );
}

const USAGE = `## Use

With Undrift:

\`\`\`ts
import { generate, LanguageModel } from 'undrift';

const model = await LanguageModel.load('path/to/model');
for await (const piece of generate(model, 'Once upon a time', { tokens: 50 })) process.stdout.write(piece);
\`\`\`

With transformers:

\`\`\`python
from transformers import pipeline

generate = pipeline("text-generation", "path/to/model")
print(generate("Once upon a time", max_new_tokens=50, do_sample=False)[0]["generated_text"])
\`\`\``;
