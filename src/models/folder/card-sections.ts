import { count } from '../../util/format.ts';
import { code } from './model-card-usage.ts';

/** Facts about a model beyond the model itself. All are optional; the card claims nothing that is not given. */
export interface CardFacts {
  /** Title of the card. */
  name?: string;
  /** ISO 639 codes, for example `en`. */
  languages?: readonly string[];
  /** SPDX identifier in lower case, for example `apache-2.0`. */
  license?: string;
  /** Folder or Hub name of the model that training started from. */
  baseModel?: string;
  /** Commit of the base model on the Hub. */
  baseRevision?: string;
  /** Data sets of the training. */
  datasets?: readonly CardDataset[];
  /** Training method: its id, a description in one sentence, and a citation. */
  method?: { id: string; description?: string; citation?: string };
  /** Settings of the training, in the order to show them; null values are left out. */
  options?: Readonly<Record<string, unknown>>;
  /** Cost of the training up to this model: totals, each followed by its parts with their shares. */
  cost?: readonly { readonly name: string; readonly amount: string; readonly share?: string }[];
  /** Evaluation results. */
  results?: readonly CardResult[];
}

/** Data set of a training: its name, number of documents and number of training queries. */
export interface CardDataset {
  name: string;
  documents?: number;
  queries?: number;
}

/** Evaluation result on one split. */
export interface CardResult {
  dataset: string;
  split: string;
  /** Number of queries evaluated. */
  queries?: number;
  /** Values by metric: `ndcg@10`, `mrr@10`, … */
  metrics: Readonly<Record<string, number>>;
  /** Values of other systems on the same queries, by name: `bm25`. */
  baselines?: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/** JSON is valid YAML. */
export const yaml = (value: unknown): string => JSON.stringify(value);

/** Writes a list under a key in YAML; nothing for an empty list. */
export const yamlList = (key: string, values: readonly unknown[]): string[] =>
  values.length === 0 ? [] : [`${key}:`, ...values.map((value) => `- ${yaml(value)}`)];

/** Writes the lines of a card's YAML head on languages, licence, base model and data. */
export const factLines = ({ datasets = [], languages = [], license, baseModel }: CardFacts): string[] => [
  ...yamlList('language', languages),
  ...(license ? [`license: ${yaml(license)}`] : []),
  ...(baseModel ? [`base_model: ${yaml(baseModel)}`] : []),
  ...yamlList(
    'datasets',
    datasets.map(({ name }) => name),
  ),
];

/** Writes the section on the training of a model: method, data, options and cost; empty where nothing is known. */
export function trainingSection(
  { trainedSteps }: { readonly trainedSteps: number },
  card: CardFacts,
): string {
  const { datasets = [], method, options = {}, cost = [], baseModel, baseRevision } = card;
  if (datasets.length === 0 && !method) return '';
  const parts = ['## Training'];
  if (method) {
    const { id, description, citation } = method;
    parts.push(
      `Method: \`${id}\`${description ? `, ${description}` : ''}; ${count(trainedSteps)} steps${baseModel ? `, from ${code(baseModel)}${baseRevision ? ` at commit ${code(baseRevision)}` : ''}` : ''}.${citation ? ` ${citation}` : ''}`,
    );
  }
  if (datasets.length > 0) {
    const known = (value: number | undefined) => (value === undefined ? '' : count(value));
    parts.push(
      table(
        ['data', 'documents', 'training queries'],
        datasets.map((dataset) => [cell(dataset.name), known(dataset.documents), known(dataset.queries)]),
      ),
    );
  }
  const settings = Object.entries(options)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([key, value]) => [cell(key), code(value)]);
  if (settings.length > 0) parts.push(table(['option', 'value'], settings));
  if (cost.length > 0) {
    const rows = cost.map(({ name, amount, share }) => [
      cell(share === undefined ? name : `of which ${name}`),
      cell(amount),
      share ?? '',
    ]);
    parts.push('What it cost up to this model:', table(['', '', ''], rows));
  }
  return parts.join('\n\n');
}

/** Writes the section on evaluations of a model; empty where there is none. */
export function resultsSection({ results = [] }: CardFacts): string {
  if (results.length === 0) return '';
  const parts = results.map(({ dataset, split, queries, metrics, baselines = {} }) => {
    const names = Object.keys(metrics);
    const row = (name: string, values: Readonly<Record<string, number>>) => [
      cell(name),
      ...names.map((metric) => values[metric]?.toFixed(4) ?? ''),
    ];
    const rows = [
      ...Object.entries(baselines).map(([name, values]) => row(name, values)),
      row('this model', metrics),
    ];
    return `${cell(dataset)}, ${cell(split)} split${queries === undefined ? '' : `, ${count(queries)} queries`}:\n\n${table(['', ...names.map(cell)], rows)}`;
  });
  return ['## Results', ...parts].join('\n\n');
}

/** Escapes a text for a table cell. */
const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll(/\s+/g, ' ');

/** Writes a table in Markdown. */
export const table = (header: readonly string[], rows: readonly (readonly string[])[]): string =>
  [header, header.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
