import { execFile, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { compose, noCompose } from './docker-compose.ts';
import { natsProgram, noNats } from './nats-server.ts';
import { tempFiles } from './temp-files.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('..', import.meta.url));
const deploy = (name: string) => join(root, 'deploy', name);
const read = (name: string) => readFileSync(deploy(name), 'utf8');
const MAIN = join(root, 'dist/cli/main.js');
const ENVIRONMENT = { NATS_PASSWORD: 'secret', UNDRIFT_TOKEN: 'token', UNDRIFT_STORE: './docs' };

/** Commands of Undrift in a file: the words of each `command` or `args` that begins with one. */
const commandsOf = (name: string): string[][] =>
  [...read(name).matchAll(/(?:command|args): (\[.*\])$/gm)]
    .map(([, words]) => JSON.parse(words!) as string[])
    .filter(([first]) => first === 'cluster' || first === 'serve');

it.each(['compose.yaml', 'kubernetes.yaml'])(
  'deploy/%s starts each role, with options that it has',
  async (name) => {
    const commands = commandsOf(name).map((words) => {
      const length = words[0] === 'cluster' ? 2 : 1;
      return {
        role: words.slice(0, length),
        options: words.slice(length).filter((word) => word.startsWith('--')),
      };
    });
    expect(commands.map(({ role }) => role.join(' ')).sort()).toEqual([
      ...['cluster coordinate', 'cluster owner', 'cluster worker', 'serve'],
    ]);
    await Promise.all(
      commands.map(async ({ role, options }) => {
        const { stdout } = await run(process.execPath, [MAIN, ...role, '--help']);
        for (const option of options) expect(stdout, role.join(' ')).toMatch(new RegExp(`${option}\\b`));
      }),
    );
  },
);

describe.skipIf(noCompose !== undefined)(`Docker Compose${noCompose ? `: ${noCompose}` : ''}`, () => {
  const config = (env: NodeJS.ProcessEnv) =>
    compose(['-f', deploy('compose.yaml'), 'config', '--format', 'json'], { PATH: process.env.PATH, ...env });

  it('accepts deploy/compose.yaml, and scales workers by the environment', () => {
    const { code, stdout, stderr } = config({ ...ENVIRONMENT, WORKERS: '5' });
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const { services } = JSON.parse(stdout);
    expect(Object.keys(services).sort()).toEqual(['coordinator', 'nats', 'owner', 'serve', 'worker']);
    expect(services.worker.deploy.replicas).toBe(5);
    // The image's check of health is for `serve` alone.
    expect(services.serve.healthcheck).toBeUndefined();
    for (const role of ['owner', 'coordinator', 'worker'])
      expect(services[role].healthcheck.disable).toBe(true);
  });

  it.each(Object.keys(ENVIRONMENT))('wants %s', (name) => {
    const { code, stderr } = config({ ...ENVIRONMENT, [name]: undefined });
    expect(code).not.toBe(0);
    expect(stderr).toContain(`set ${name}`);
  });
});

describe.skipIf(noNats !== undefined)(`nats-server${noNats ? `: ${noNats}` : ''}`, () => {
  const check = (file: string) =>
    spawnSync(natsProgram!, ['-c', file, '-t'], {
      encoding: 'utf8',
      env: { ...process.env, NATS_USER: 'undrift', NATS_STORE: '/data', POD_NAME: 'nats-0', ...ENVIRONMENT },
    });
  /** Settings of the servers on Kubernetes: the indented text of the map. */
  const inManifest = () => {
    const [, text] = /nats\.conf: \|\n((?: {4}.*\n|\n)+)---/.exec(read('kubernetes.yaml'))!;
    return text!.replace(/^ {4}/gm, '');
  };

  it('accepts both configurations, which write to the disk before they acknowledge', () => {
    const folder = tempFiles({ 'manifest.conf': inManifest() });
    writeFileSync(join(folder, 'broken.conf'), inManifest().replace('sync_interval', 'sink_interval'));
    for (const file of [deploy('nats-server.conf'), join(folder, 'manifest.conf')]) {
      expect(check(file)).toMatchObject({ status: 0, stderr: expect.stringContaining('is valid') });
      expect(readFileSync(file, 'utf8')).toMatch(/^\s*sync_interval: always$/m);
    }
    expect(check(join(folder, 'broken.conf')).status).not.toBe(0);
  });
});
