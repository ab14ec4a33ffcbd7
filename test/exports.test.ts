import { execFile } from 'node:child_process';
import { readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { allOptions } from '../src/cli/command.ts';
import { specsByPath } from '../src/cli/commands.ts';
import { flagOf } from '../src/cli/options.ts';
import type { OptionSpec } from '../src/util/option-table.ts';
import { tempFiles } from './temp-files.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const run = promisify(execFile);

/**
 * Runs a module in a fresh Node process inside the package, where it can import the package by name. Returns
 * the JSON that it printed.
 */
async function inNode(code: string): Promise<unknown> {
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', code], { cwd: root });
  return JSON.parse(stdout);
}

describe('the published package', () => {
  it('imports by its name, and computes', async () => {
    const code = `
      import { backward, evaluate, Graph, hostTensor, ops, Program, trainRetriever } from 'undrift';
      const graph = new Graph('square');
      const x = graph.input('x', 'f32', ['n']);
      graph.output('dx', backward(ops.sum(ops.mul(x, x)), [x])[0]);
      const program = await Program.compile(graph);
      const { dx } = await program.run({ x: hostTensor('f32', [2], Float32Array.of(1, 3)) });
      const kinds = [typeof trainRetriever, typeof evaluate];
      console.log(JSON.stringify({ dx: [...dx.data], kinds }));`;
    expect(await inNode(code)).toEqual({ dx: [2, 6], kinds: ['function', 'function'] });
  });

  const loading = (entry: string) => `
    const exported = Object.keys(await import(${JSON.stringify(entry)})).sort();
    const { sharedObjects } = process.report.getReport();
    const native = sharedObjects.filter((path) => path.includes('onnxruntime'));
    console.log(JSON.stringify({ exported, native }));`;

  /** Exports of each entry point without types, and whether it loads the native code of onnxruntime. */
  const entries: Record<string, { exports: string; native: boolean }> = {
    cluster: {
      exports:
        'ClusterSearcher Owner ShardSearch StoreShard clusterEmbedder clusterStatus connectCluster embedStore ensureStreams forgetShard openStreams ' +
        'runCoordinator runOverCluster runWorker storeShard',
      native: true,
    },
    eval: {
      exports:
        'compareRuns evaluate formatComparison formatMetrics readQrels readRunFile writeQrelsFile writeRunFile',
      native: false,
    },
    graph: { exports: 'Graph backward decodeModel encodeModel ops printGraph toOnnx', native: false },
    io: {
      exports: 'openNpy openNpyWriter openSafetensors readNpy readSafetensors writeNpy writeSafetensors',
      native: false,
    },
    losses: {
      exports:
        'KL_DIRECTIONS MARGINALS angle angleSimilarity candidateMarginal cosent cosineSimilarity cosines distances ' +
        'expectation gist hiddenNextTokenLoss hiddenTokenLogProbabilities importanceCorrected klDistillation lambdaRank marginMse ' +
        'marginalLikelihood matryoshka memorySoftmaxLoss multiPositiveSoftmax nextTokenLogProbabilities nextTokenLoss ' +
        'pairCosines pairwise phraseLoss posteriorDivergence softmaxCrossEntropy symmetricSoftmax teacherDivergence ' +
        'tokenLogProbabilities triplet truncatedSoftmax',
      native: false,
    },
    search: { exports: 'Bm25 ExactIndex InvertedIndex TfIdf bm25Terms', native: true },
    store: {
      exports:
        'ADAPTERS LazyRefresh Store StoreSearcher backfill buildApproximateIndex checkCanaries cutOver fuseRanks fuseScores indexPassages ' +
        'migrationReport parseCondition planMigration readCanaries refitThreshold removePassages rollBack startMigration storeKeeper ' +
        'storeStatus',
      native: true,
    },
  };

  it('its entry points are those of package.json', () => {
    const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const names = ['.', ...Object.keys(entries).map((name) => `./${name}`), './package.json'];
    expect(Object.keys(exports)).toEqual(names);
  });

  it.each(Object.keys(entries))(
    'undrift/%s is imported alone, with native code only where it computes',
    async (name) => {
      const { exports, native } = entries[name]!;
      const found = (await inNode(loading(`undrift/${name}`))) as { exported: string[]; native: string[] };
      expect(found.exported.join(' ')).toBe(exports);
      expect(found.native.length > 0).toBe(native);
    },
  );

  it('undrift is the whole of them', async () => {
    const whole = (await inNode(loading('undrift'))) as { exported: string[]; native: string[] };
    expect(whole.native.length).toBeGreaterThan(0);
    const parts = Object.values(entries).flatMap(({ exports }) => exports.split(' '));
    expect(whole.exported).toEqual(expect.arrayContaining(parts));
  });

  /** Files of libraries and of the package, which the programs below parse once. */
  const parsed = new Map<string, ts.SourceFile | undefined>();
  function sharedHost(options: ts.CompilerOptions): ts.CompilerHost {
    const host = ts.createCompilerHost(options);
    return {
      ...host,
      getSourceFile(name, settings, ...rest) {
        // The settings say whether the file is a module of CommonJS.
        const key = `${name} ${JSON.stringify(settings)}`;
        if (!parsed.has(key)) parsed.set(key, host.getSourceFile(name, settings, ...rest));
        return parsed.get(key);
      },
    };
  }

  /** Returns the codes of the compiler's errors for a file of a project that has installed the package. */
  function faultsOf(name: string, code: string, options: ts.CompilerOptions): number[] {
    const folder = realpathSync(tempFiles({ [name]: code, 'node_modules/.keep': '' }));
    symlinkSync(root, join(folder, 'node_modules', 'undrift'), 'dir');
    const settings = {
      target: ts.ScriptTarget.ES2022,
      strict: true,
      noEmit: true,
      skipLibCheck: true,
      typeRoots: [join(root, 'node_modules', '@types')],
      types: ['node'],
      ...options,
    };
    const program = ts.createProgram([join(folder, name)], settings, sharedHost(settings));
    return ts.getPreEmitDiagnostics(program).map((fault) => fault.code);
  }

  it.each([
    ['node16', ts.ModuleKind.Node16, ts.ModuleResolutionKind.Node16],
    ['bundler', ts.ModuleKind.ESNext, ts.ModuleResolutionKind.Bundler],
  ])('its types are found by module resolution %s', (_, module, moduleResolution) => {
    const lines = Object.entries(entries).map(([name, { exports }]) => {
      const names = exports.split(' ').join(', ');
      return `import { ${names} } from 'undrift/${name}';\nexport const of_${name} = [${names}];\n`;
    });
    // This code is wrong on purpose, to prove that the types are found and are not "any".
    const wrong =
      "import { trainRetriever } from 'undrift';\nexport const train: (n: 1) => void = trainRetriever;\n";
    expect(faultsOf('use.mts', lines.join('') + wrong, { module, moduleResolution })).toEqual([2322]);
  });

  it('is taken by CommonJS as README says', async () => {
    const code = "const { Graph } = require('undrift'); console.log(JSON.stringify(new Graph('g').name));";
    const { stdout } = await run(process.execPath, ['--input-type=commonjs', '--eval', code], { cwd: root });
    expect(JSON.parse(stdout)).toBe('g');
    const imported = "import { trainRetriever } from 'undrift';\nexport const train = trainRetriever;\n";
    const nodeNext = { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext };
    const node16 = { module: ts.ModuleKind.Node16, moduleResolution: ts.ModuleResolutionKind.Node16 };
    expect(faultsOf('use.cts', imported, nodeNext)).toEqual([]);
    expect(faultsOf('use.cts', imported, node16)).toEqual([1479]);
    const dynamic = "export const train = async () => (await import('undrift')).trainRetriever;\n";
    expect(faultsOf('use.cts', dynamic, node16)).toEqual([]);
  });
});

describe('README.md', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const snippets = [...readme.matchAll(/^```ts\n(.*?)^```$/gms)].map((match) => match[1]!);

  it('its TypeScript compiles against the built package', () => {
    expect(snippets.length).toBeGreaterThan(1);
    const folder = realpathSync(tempFiles());
    const names = snippets.map((snippet, i) => {
      const name = join(folder, `snippet-${i}.mts`);
      writeFileSync(name, `${snippet}\nexport {};\n`);
      return name;
    });
    const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile);
    const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, root);
    const program = ts.createProgram(names, {
      ...options,
      typeRoots: [join(root, 'node_modules', '@types')],
      paths: {
        undrift: [join(root, 'dist', 'index.d.ts')],
        'undrift/*': [join(root, 'dist', '*.d.ts')],
      },
    });
    const faults = ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
      const line = file && start !== undefined ? file.getLineAndCharacterOfPosition(start).line + 1 : 0;
      return `${file?.fileName}:${line}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
    });
    expect(faults).toEqual([]);
  });

  it('its links lead somewhere', () => {
    const links = [...readme.matchAll(/\]\(([^)#:]+)\)/g)].map((match) => match[1]!);
    expect(links.length).toBeGreaterThan(8);
    expect(links.filter((link) => !ts.sys.fileExists(join(root, link)))).toEqual([]);
  });

  it('its commands and options exist', async () => {
    const lines = [
      ...readme.matchAll(/^npx undrift ((?:lm |migrate |cluster )?\S+(?: api-docs)?) (.*?)(?:#.*)?$/gm),
    ];
    expect(lines.length).toBeGreaterThan(8);
    const specs = await specsByPath();
    for (const [line, command, rest] of lines) {
      const spec = specs.get(command!);
      expect(spec, line).toBeDefined();
      const flags = Object.entries<OptionSpec>(allOptions(spec!)).map(([key, option]) => flagOf(key, option));
      for (const [flag] of rest!.matchAll(/--[a-z-]+/g)) expect(flags, line).toContain(flag);
    }
  });
});
