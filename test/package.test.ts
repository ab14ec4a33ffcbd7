import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { tempFiles } from './temp-files.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

describe('the packed package', () => {
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  const listed = execFileSync(npm, ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: root,
    encoding: 'utf8',
    shell: process.platform === 'win32',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [{ files }] = JSON.parse(listed) as [{ files: { path: string; mode: number }[] }];
  const paths = new Set(files.map(({ path }) => path));

  it('has what the links of its pages lead to', () => {
    const folders = new Set([...paths].flatMap((path) => parents(path)));
    const pages = [...paths].filter((path) => path.endsWith('.md'));
    expect(pages.length).toBeGreaterThan(25);
    const broken = pages.flatMap((page) =>
      [...readFileSync(join(root, page), 'utf8').matchAll(/\]\(([^)\s#]+)[^)]*\)/g)]
        .map(([, link]) => link!)
        .filter((link) => !/^https?:/.test(link))
        .map((link) => posix.normalize(posix.join(posix.dirname(page), link)).replace(/\/$/, ''))
        // Pages for contributors may name tests and tools, which are in the repository only.
        .filter((target) => page === 'README.md' || !/^(test|tools)\//.test(target))
        .filter((target) => !paths.has(target) && !folders.has(target))
        .map((target) => `${page} → ${target}`),
    );
    expect(broken).toEqual([]);
  });

  it('has the sources that its source maps name, and neither tests nor what is made by them', () => {
    const maps = [...paths].filter((path) => path.endsWith('.js.map'));
    expect(maps.length).toBeGreaterThan(200);
    for (const map of maps) {
      const { sources } = JSON.parse(readFileSync(join(root, map), 'utf8')) as { sources: string[] };
      // A source that was removed leaves its map in a folder that was built before.
      for (const source of sources.map((name) => posix.join(posix.dirname(map), name))) {
        if (existsSync(join(root, source))) expect(paths).toContain(source);
      }
    }
    expect([...paths].filter((path) => /\.test\.ts$|\/fixtures\/|^docs\/api\//.test(path))).toEqual([]);
  });

  it.skipIf(process.platform === 'win32')('has a command that can be executed in the clone', () => {
    expect(statSync(join(root, 'dist/cli/main.js')).mode & 0o111).not.toBe(0);
  });
});

function parents(path: string): string[] {
  const folder = posix.dirname(path);
  return folder === '.' ? [] : [folder, ...parents(folder)];
}

// On Linux x64 the install script of onnxruntime-node downloads libraries that are not there.
describe('installing without a download', () => {
  const SCRIPT = 'tools/install/skip-cuda-download.mjs';
  const METADATA = `module.exports = {
    requirements: { '${process.platform}/${process.arch}': ['cuda12'] },
    manifests: { '${process.platform}/${process.arch}:cuda12': { './cuda.so': {}, './shared.so': {} } },
  };`;
  const BIN = join('bin', 'napi-v6', process.platform, process.arch);

  /** Runs the script in a project whose package.json is given. Returns the sizes of the two libraries. */
  function install(project: object, { at = 'node_modules/undrift', env = {} } = {}) {
    const folder = tempFiles({
      'package.json': JSON.stringify(project),
      'node_modules/onnxruntime-node/package.json': '{}',
      'node_modules/onnxruntime-node/script/install-metadata.js': METADATA,
      [join('node_modules/onnxruntime-node', BIN, 'shared.so')]: 'there already',
    });
    const script = join(folder, at, SCRIPT);
    cpSync(join(root, SCRIPT), script);
    const clean = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !/onnxruntime.node.install/i.test(name)),
    );
    execFileSync(process.execPath, [script], {
      cwd: dirname(script),
      env: { ...clean, npm_config_local_prefix: folder, ...env },
    });
    return ['cuda.so', 'shared.so'].map((name) => {
      const file = join(folder, 'node_modules/onnxruntime-node', BIN, name);
      return existsSync(file) ? statSync(file).size : undefined;
    });
  }

  it('puts empty files in the places of libraries that are missing', () => {
    expect(install({ dependencies: { undrift: '*' } })).toEqual([0, 13]);
    expect(install({}, { at: 'node_modules/other/node_modules/undrift' })).toEqual([0, 13]);
  });

  it.each([
    ['where the user has decided', {}, { env: { ONNXRUNTIME_NODE_INSTALL: 'true' } }],
    ['where .npmrc has decided', {}, { env: { npm_config_onnxruntime_node_install: 'cuda12' } }],
    ['where the project has onnxruntime-node itself', { dependencies: { 'onnxruntime-node': '*' } }, {}],
    ['in a clone', {}, { at: 'clone' }],
  ])('leaves the runtime alone %s', (_, project, options) => {
    expect(install(project, options)).toEqual([undefined, 13]);
  });

  it('knows the metadata of the installed runtime', () => {
    const folder = join(root, 'node_modules', 'onnxruntime-node');
    const { requirements, manifests } = JSON.parse(
      execFileSync(process.execPath, ['-p', 'JSON.stringify(require("./script/install-metadata.js"))'], {
        cwd: folder,
        encoding: 'utf8',
      }),
    );
    expect(requirements['linux/x64']).toEqual(['cuda12']);
    expect(Object.keys(manifests['linux/x64:cuda12'])).toContain('./libonnxruntime_providers_cuda.so');
    expect(existsSync(join(folder, 'bin', 'napi-v6', process.platform, process.arch))).toBe(true);
  });

  it('ends the install script of a clone at once, in place of global-agent', () => {
    const found = execFileSync(
      process.execPath,
      ['-p', 'require("global-agent").bootstrap(), process.env.ONNXRUNTIME_NODE_INSTALL'],
      {
        cwd: join(root, 'node_modules', 'onnxruntime-node'),
        encoding: 'utf8',
        env: { PATH: process.env.PATH },
      },
    );
    expect(found.trim()).toBe('skip');
  });
});

it('the image of deploy/ has the versions that are tested here', () => {
  const read = (file: string) => JSON.parse(readFileSync(join(root, file), 'utf8'));
  const { dependencies, overrides } = read('deploy/package.json');
  const { undrift, ...peers } = dependencies;
  const own = read('package.json');
  expect(undrift).toBe('file:undrift.tgz');
  expect(own.devDependencies).toMatchObject(peers);
  expect(Object.keys(peers).sort()).toEqual([
    '@lancedb/lancedb',
    ...['jetstream', 'kv', 'obj', 'transport-node'].map((name) => `@nats-io/${name}`),
    'apache-arrow',
  ]);
  expect(own.overrides).toMatchObject(overrides);
});
