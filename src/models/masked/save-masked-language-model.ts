import { writeFolderAtomic } from '../../util/files.ts';
import { count } from '../../util/format.ts';
import { factLines, resultsSection, table, trainingSection, yamlList } from '../folder/card-sections.ts';
import { tokenizerFiles } from '../folder/tokenizer-files.ts';
import { MASKED_LANGUAGE_MODEL, UNDRIFT_JSON } from '../folder/undrift-json.ts';
import { checkReplaceable, writeFiles } from '../folder/write-towers.ts';
import type { SaveLanguageModelOptions } from '../language/save-language-model.ts';
import type { MaskedLanguageModel } from './masked-language-model.ts';

/** Format of the folder's `undrift.json`. Versions of Undrift without masked language models read formats up to 3. */
const FORMAT = 4;

/** Longest text of a model without a limit, in tokens, for other programs. */
const NO_LIMIT = 1_000_000;

/**
 * Writes a masked language model as a folder that Undrift and transformers (`AutoModelForMaskedLM`) read:
 *
 *     config.json, model.safetensors      architecture and weights, under Hugging Face's names
 *     tokenizer.json, tokenizer_config.json, special_tokens_map.json
 *     undrift.json, README.md             mark of a folder that may be replaced; the model card
 *
 * The folder is replaced as a whole: at every moment it holds the old model or the new one.
 *
 * @throws UndriftError when the folder exists and holds anything but a model of Undrift
 */
export async function saveMaskedLanguageModel(
  folder: string,
  model: MaskedLanguageModel,
  { card = {}, trainedSteps = 0 }: SaveLanguageModelOptions = {},
): Promise<void> {
  await checkReplaceable(folder);
  const { network, tokenizer, specs, weights, tokenTypes } = model;
  const tokens = tokenizerFiles(tokenizer, { maxTokens: model.maxTokens ?? NO_LIMIT, tokenTypes });
  await writeFolderAtomic(folder, async (temporary) => {
    await writeFiles(temporary, {
      json: {
        'config.json': { ...tokens.ids, ...network.configFile, torch_dtype: 'float32' },
        ...tokens.json,
        [UNDRIFT_JSON]: { format: FORMAT, kind: MASKED_LANGUAGE_MODEL, trainedSteps },
      },
      raw: { ...tokens.raw, 'README.md': modelCard(model, trainedSteps, card) },
      tensors: {
        'model.safetensors': Object.fromEntries(
          specs.map(({ name }) => [network.storedName(name), weights[name]!]),
        ),
      },
    });
  });
}

/** Writes the README of the folder: a Hugging Face model card, with the YAML head that the hub reads. */
function modelCard(
  { network, tokenizer, weights, maxTokens, maskToken }: MaskedLanguageModel,
  trainedSteps: number,
  card: NonNullable<SaveLanguageModelOptions['card']>,
): string {
  const head = [
    '---',
    'library_name: transformers',
    'pipeline_tag: fill-mask',
    ...yamlList('tags', ['fill-mask', 'undrift']),
    ...factLines(card),
    '---',
  ];
  const parameters = Object.values(weights).reduce((sum, { data }) => sum + data.length, 0);
  const facts = table(
    ['', ''],
    [
      ['Architecture', `\`${network.config.model_type}\``],
      ['Parameters', count(parameters)],
      ['Vocabulary', `${count(tokenizer.vocabSize)} tokens`],
      ...(maxTokens === undefined ? [] : [['Longest text', `${count(maxTokens)} tokens`]]),
      ['Training steps', count(trainedSteps)],
    ],
  );
  const sections = [
    head.join('\n'),
    `# ${card.name ?? 'Masked language model'}`,
    `An encoder (\`${network.config.model_type}\`) that predicts the tokens behind masks. Saved by Undrift.`,
    facts,
    trainingSection({ trainedSteps }, card),
    resultsSection(card),
    usage(maskToken),
  ];
  return `${sections.filter((section) => section !== '').join('\n\n')}\n`;
}

const usage = (mask: string): string => `## Use

With Undrift:

\`\`\`ts
import { MaskedLanguageModel, MaskedPrompt } from 'undrift';

const model = await MaskedLanguageModel.load('path/to/model');
const asked = { query: 'Paris is the capital of ___.', answer: 'France', passage: undefined };
const [logProbabilities] = await model.scoreTokens([new MaskedPrompt().tokens(model, asked)]);
\`\`\`

With transformers:

\`\`\`python
from transformers import pipeline

print(pipeline("fill-mask", "path/to/model")("Paris is the capital of ${mask}.")[0]["token_str"])
\`\`\``;
