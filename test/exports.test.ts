import { execFile } from 'node:child_process';
import { readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { tempFiles } from './temp-files.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const run = promisify(execFile);

/** Runs a module in a fresh Node, inside the package, where it may name itself; gives the JSON that it printed. */
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

  it('undrift/eval loads no native code', async () => {
    const found = (await inNode(loading('undrift/eval'))) as { exported: string[]; native: string[] };
    expect(found.exported).toEqual([
      'compareRuns',
      'evaluate',
      'formatComparison',
      'formatMetrics',
      'readQrels',
      'readRunFile',
      'writeQrelsFile',
      'writeRunFile',
    ]);
    expect(found.native).toEqual([]);
    const whole = (await inNode(loading('undrift'))) as { exported: string[]; native: string[] };
    expect(whole.native.length).toBeGreaterThan(0);
    expect(whole.exported).toEqual(expect.arrayContaining(found.exported));
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
        'undrift/eval': [join(root, 'dist', 'eval.d.ts')],
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
    const lines = [...readme.matchAll(/^npx undrift (\S+(?: api-docs)?) (.*?)(?:#.*)?$/gm)];
    expect(lines.length).toBeGreaterThan(8);
    for (const [line, command, rest] of lines) {
      const { stdout } = await run(process.execPath, ['dist/cli/main.js', ...command!.split(' '), '--help'], {
        cwd: root,
      });
      for (const [flag] of rest!.matchAll(/--[a-z-]+/g)) expect(stdout, line).toContain(flag);
    }
  });
});
