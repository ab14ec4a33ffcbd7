import { taxonomy } from '../rlm/taxonomy.ts';
import { defineCommand } from './command.ts';

const DOCS =
  'docs/language-models.md says when to use which, docs/language-model-experiments.md what each gains.';

/** The command `undrift lm methods`: lists the ways of training and using retrieval with a language model. */
export const lmMethodsCommand = defineCommand({
  description:
    'Lists the methods by the order in which retriever and language model are trained, with what is trained, the state of the index ' +
    'meanwhile, and the commands.',
  options: {},
  examples: ['', '--json'],
  async run() {
    const orders = [...new Set(taxonomy.map(({ order }) => order))];
    const sections = orders.map((wanted) => {
      const methods = taxonomy.filter(({ order }) => order === wanted);
      return [wanted.toUpperCase(), ...methods.map(describe)].join('\n');
    });
    return { json: { methods: taxonomy }, text: `${sections.join('\n\n')}\n\n${DOCS}` };
  },
});

const describe = ({ name, paper, trained, index, train, use }: (typeof taxonomy)[number]): string =>
  [
    `  ${name} (${paper})`,
    `    trained  ${trained}`,
    `    index    ${index}`,
    ...(train ? [`    train    undrift ${train}`] : []),
    ...(use ? [`    use      undrift ${use}`] : []),
  ].join('\n');
