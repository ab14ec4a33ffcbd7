import type { AnyCommand, CommandEntry } from './command.ts';

/** Command by name, whose module is loaded when the command is used. */
interface LazyCommand {
  /** Word that names the command. */
  readonly name: string;
  /** Summary of one line, for the list of commands. */
  readonly summary: string;
  /** Loads its module. */
  readonly load: () => Promise<AnyCommand>;
}

/** Commands that share their first word. */
interface LazyGroup {
  readonly name: string;
  readonly summary: string;
  readonly commands: readonly LazyCommand[];
}

const DATA: LazyGroup = {
  name: 'data',
  summary: 'build, measure or clean a data set',
  commands: [
    {
      name: 'api-docs',
      summary: 'build the quick-start data set from the declaration files of installed packages',
      load: async () => (await import('./data.ts')).apiDocsCommand,
    },
    {
      name: 'stats',
      summary: 'measure a data set: counts, lengths, repeated texts, scripts',
      load: async () => (await import('./data.ts')).statsCommand,
    },
    {
      name: 'clean',
      summary: 'copy a data set without repeated texts, and with dev and test splits',
      load: async () => (await import('./data.ts')).cleanCommand,
    },
    {
      name: 'continuations',
      summary: 'cut running text into contexts and continuations, to train a retriever from a language model',
      load: async () => (await import('./data.ts')).continuationsCommand,
    },
    {
      name: 'spans',
      summary: 'cut dates, names and numbers out of running text, to train a reader and its retriever',
      load: async () => (await import('./data.ts')).spansCommand,
    },
    {
      name: 'cloze',
      summary: 'cut sentences out of running text, to train a first retriever on documents alone',
      load: async () => (await import('./data.ts')).clozeCommand,
    },
  ],
};

const MIGRATE: LazyGroup = {
  name: 'migrate',
  summary: 'replace the encoder of a store without a gap',
  commands: [
    {
      name: 'plan',
      summary: 'estimate time and quality of a migration from a sample; stores nothing',
      load: async () => (await import('./migrate.ts')).planCommand,
    },
    {
      name: 'start',
      summary: 'serve a new model at once by corrected vectors, and embed all passages by it',
      load: async () => (await import('./migrate.ts')).startCommand,
    },
    {
      name: 'report',
      summary:
        'measure the former model, moved documents, moved queries and the new model on labelled queries',
      load: async () => (await import('./migrate.ts')).reportCommand,
    },
    {
      name: 'cutover',
      summary: 'end a migration: remove vectors and model of the former space',
      load: async () => (await import('./migrate.ts')).cutoverCommand,
    },
    {
      name: 'rollback',
      summary: 'undo a migration: queries are embedded by the former model again',
      load: async () => (await import('./migrate.ts')).rollbackCommand,
    },
  ],
};

const CLUSTER: LazyGroup = {
  name: 'cluster',
  summary: 'embed on several machines, over NATS JetStream',
  commands: [
    {
      name: 'worker',
      summary: 'embed rows for the shards of a cluster',
      load: async () => (await import('./cluster.ts')).workerCommand,
    },
    {
      name: 'owner',
      summary: 'own stores as shards of a cluster: tell what is stale, store what workers embed',
      load: async () => (await import('./cluster.ts')).ownerCommand,
    },
    {
      name: 'coordinate',
      summary: 'hand out what is stale in the shards of a cluster',
      load: async () => (await import('./cluster.ts')).coordinateCommand,
    },
    {
      name: 'status',
      summary: 'show versions, rates, workers and time left of a cluster',
      load: async () => (await import('./cluster.ts')).clusterStatusCommand,
    },
    {
      name: 'forget',
      summary: 'remove a shard whose owner has gone for good',
      load: async () => (await import('./cluster.ts')).forgetCommand,
    },
  ],
};

const STORE: LazyGroup = {
  name: 'store',
  summary: 'exchange vectors of a store with other programs, as files',
  commands: [
    {
      name: 'export',
      summary: 'write vectors with their ids, stamps and texts to a file',
      load: async () => (await import('./store.ts')).exportCommand,
    },
    {
      name: 'import',
      summary: 'store vectors that were made elsewhere, with their stamps',
      load: async () => (await import('./store.ts')).importCommand,
    },
  ],
};

const LM: LazyGroup = {
  name: 'lm',
  summary: 'train and use language models, alone or with retrieval',
  commands: [
    {
      name: 'train',
      summary: 'train a language model on texts',
      load: async () => (await import('./lm-train.ts')).lmTrainCommand,
    },
    {
      name: 'eval',
      summary: 'measure how well a language model predicts text, alone or with retrieval',
      load: async () => (await import('./lm-eval.ts')).lmEvalCommand,
    },
    {
      name: 'datastore',
      summary: 'store every token of a text with the state that predicts it, for kNN-LM',
      load: async () => (await import('./lm-datastore.ts')).lmDatastoreCommand,
    },
    {
      name: 'rerank-data',
      summary: 'write lists of passages with what each is worth to a language model, to train a reranker',
      load: async () => (await import('./lm-rerank-data.ts')).lmRerankDataCommand,
    },
    {
      name: 'generate',
      summary: 'continue a text with a language model, with passages in front if asked for',
      load: async () => (await import('./lm-generate.ts')).generateCommand,
    },
    {
      name: 'fill',
      summary: 'fill the mask of a text with phrases of other texts (NPM)',
      load: async () => (await import('./lm-fill.ts')).lmFillCommand,
    },
    {
      name: 'compare',
      summary: 'measure a language model alone and with retrieval, and report',
      load: async () => (await import('./lm-compare.ts')).compareLanguageCommand,
    },
    {
      name: 'methods',
      summary: 'list the ways of training and using retrieval with a language model',
      load: async () => (await import('./lm-methods.ts')).lmMethodsCommand,
    },
  ],
};

/** All commands, in the order of the help. */
export const COMMANDS: readonly (LazyCommand | LazyGroup)[] = [
  DATA,
  {
    name: 'train',
    summary: 'train a retriever, or a cross-encoder that reranks',
    load: async () => (await import('./train.ts')).trainCommand,
  },
  {
    name: 'eval',
    summary: 'measure a retriever, BM25, TF-IDF or a store on the judged queries of a split',
    load: async () => (await import('./eval.ts')).evalCommand,
  },
  {
    name: 'encode',
    summary: 'encode texts as vectors',
    load: async () => (await import('./encode.ts')).encodeCommand,
  },
  {
    name: 'index',
    summary: 'store passages with their vectors, to search and serve them',
    load: async () => (await import('./index-store.ts')).indexCommand,
  },
  {
    name: 'search',
    summary: 'find the best documents for a text',
    load: async () => (await import('./search.ts')).searchCommand,
  },
  {
    name: 'status',
    summary: 'say what a store holds, by version of the encoder',
    load: async () => (await import('./status.ts')).statusCommand,
  },
  MIGRATE,
  CLUSTER,
  STORE,
  {
    name: 'serve',
    summary: 'serve a store over HTTP: search, embedding, changes, and a page',
    load: async () => (await import('./serve.ts')).serveCommand,
  },
  {
    name: 'up',
    summary: 'index a folder of documents and serve a page to search it',
    load: async () => (await import('./up.ts')).upCommand,
  },
  {
    name: 'mine',
    summary: 'find hard negatives for the queries of a data set',
    load: async () => (await import('./mine.ts')).mineCommand,
  },
  {
    name: 'correct',
    summary: 'fit a map between two models, and measure how much of a full re-embedding it recovers',
    load: async () => (await import('./correct.ts')).correctCommand,
  },
  {
    name: 'export',
    summary: 'write a model for sentence-transformers, transformers, transformers.js or onnxruntime',
    load: async () => (await import('./export.ts')).exportCommand,
  },
  {
    name: 'compare',
    summary: 'train with several methods or settings, evaluate each, and report',
    load: async () => (await import('./compare.ts')).compareCommand,
  },
  LM,
  {
    name: 'doctor',
    summary: 'report what works on this machine, or recommend a training method for data',
    load: async () => (await import('./doctor.ts')).doctorCommand,
  },
];

/** Loads the command that a command line names. The others are given by name and summary, which is all that a list of commands shows. */
export const commandsFor = async (argv: readonly string[]): Promise<CommandEntry[]> => {
  const [first, second] = argv.filter((word) => word !== 'help' && !word.startsWith('-'));
  return await loaded((name, group) =>
    group === undefined ? name === first : group === first && name === second,
  );
};

/** Loads all commands. */
export const allCommands = async (): Promise<CommandEntry[]> => await loaded(() => true);

/** Loads the commands that `isWanted`, by their names and those of their groups. */
async function loaded(isWanted: (name: string, group?: string) => boolean): Promise<CommandEntry[]> {
  const load = async ({ name, summary, load }: LazyCommand, group?: string) => ({
    ...{ name, summary },
    ...(isWanted(name, group) && { spec: await load() }),
  });
  return await Promise.all(
    COMMANDS.map(async (entry) =>
      'load' in entry
        ? await load(entry)
        : {
            ...entry,
            commands: await Promise.all(entry.commands.map((command) => load(command, entry.name))),
          },
    ),
  );
}

/** Loads all commands, by the words that name them, such as `lm train`. */
export async function specsByPath(): Promise<Map<string, AnyCommand>> {
  const entries = await allCommands();
  const named = entries.flatMap((entry) =>
    'commands' in entry
      ? entry.commands.map(({ name, spec }) => [`${entry.name} ${name}`, spec!] as const)
      : [[entry.name, entry.spec!] as const],
  );
  return new Map(named);
}
