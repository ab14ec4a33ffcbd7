import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { nkeys } from '@nats-io/transport-node';
import { afterEach, describe, expect, it } from 'vitest';
import { type NatsServers, noNats, startNats } from '../../test/nats-server.ts';
import { runUndrift } from '../../test/run-undrift.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { connectCluster } from './cluster.ts';
import { ensureStreams } from './streams.ts';

const withoutLogin = (address: string) => address.replace('nats://', '');

it('a server that is not there, and one that is no server of NATS, are told with what to do', async () => {
  await expect(connectCluster('nats://127.0.0.1:1', { timeoutMs: 1000 })).rejects.toThrow(
    'check host and port',
  );
  const other = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')).listen(
    0,
    '127.0.0.1',
  );
  await new Promise((resolve) => other.once('listening', resolve));
  const { port } = other.address() as { port: number };
  await expect(connectCluster(`nats://127.0.0.1:${port}`, { timeoutMs: 1000 })).rejects.toThrow(
    'check host and port',
  );
  other.close();
});

it('a signal ends the wait for a server that does not answer', async () => {
  const silent = createServer((socket) => void socket.on('error', () => {})).listen(0, '127.0.0.1');
  await new Promise((resolve) => silent.once('listening', resolve));
  const { port } = silent.address() as { port: number };
  const stop = new AbortController();
  const connecting = connectCluster(`nats://127.0.0.1:${port}`, { signal: stop.signal });
  const reason = new Error('enough');
  setTimeout(() => stop.abort(reason), 50);
  const startMs = performance.now();
  await expect(connecting).rejects.toBe(reason);
  expect(performance.now() - startMs).toBeLessThan(5000);
  silent.close();
});

it('a server that is too old is refused', async () => {
  const info = { server_id: 'X', version: '2.9.10', max_payload: 1048576, headers: true, jetstream: true };
  const old = createServer((socket) => {
    socket.write(`INFO ${JSON.stringify(info)}\r\n`);
    socket.on('data', (data) => {
      if (data.includes('PING')) socket.write('PONG\r\n');
    });
    socket.on('error', () => {});
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => old.once('listening', resolve));
  const { port } = old.address() as { port: number };
  await expect(connectCluster(`nats://127.0.0.1:${port}`)).rejects.toThrow('nats-server 2.9.10 is too old');
  const { code, stderr } = await runUndrift(['cluster', 'status', '--nats', `nats://127.0.0.1:${port}`]);
  expect({ code, stderr }).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('install nats-server 2.11 or later'),
  });
  old.close();
});

describe.skipIf(noNats !== undefined)(`logins and encryption${noNats ? `: ${noNats}` : ''}`, () => {
  let servers: NatsServers | undefined;
  afterEach(async () => {
    await servers?.stop();
    servers = undefined;
  });

  async function works(address: string, options: Parameters<typeof connectCluster>[1] = {}): Promise<void> {
    const cluster = await connectCluster(address, { timeoutMs: 2000, ...options });
    await ensureStreams(cluster);
    await cluster.close();
  }

  it('a signal ends the wait for the streams of a server that hangs', async () => {
    servers = await startNats();
    const cluster = await connectCluster(servers.address);
    await servers.servers[0]!.freeze();
    const stop = new AbortController();
    const waiting = ensureStreams(cluster, { signal: stop.signal });
    const reason = new Error('enough');
    setTimeout(() => stop.abort(reason), 50);
    const startMs = performance.now();
    await expect(waiting).rejects.toBe(reason);
    expect(performance.now() - startMs).toBeLessThan(3000);
    servers.servers[0]!.wake();
    await cluster.close();
  });

  it('user and password are needed, come from the address or the environment, and are never printed', async () => {
    servers = await startNats({ config: 'authorization { user: "me", password: "s3cret-pass" }' });
    const host = withoutLogin(servers.address);
    await works(`nats://me:s3cret-pass@${host}`);
    await expect(works(`nats://${host}`)).rejects.toThrow('refuses the login');
    await expect(works(`nats://me:wrong@${host}`)).rejects.toThrow('refuses the login');
    const run = (address: string, env: Readonly<Record<string, string>> = {}) =>
      runUndrift(['cluster', 'status', '--nats', address, '--json'], { env });
    const good = await run(`nats://me:s3cret-pass@${host}`);
    const byVariables = await run(`nats://${host}`, {
      UNDRIFT_NATS_USER: 'me',
      UNDRIFT_NATS_PASSWORD: 's3cret-pass',
    });
    const bad = await run(`nats://me:s3cret-pasS@${host}`);
    const malformed = await run(`nats://me:s3cret-pass@${host}/a/b`);
    expect([good.code, byVariables.code, bad.code, malformed.code]).toEqual([0, 0, 1, 2]);
    expect(JSON.parse(good.stdout)).toMatchObject({
      address: `nats://${host}/undrift`,
      rows: 0,
      shards: [],
      workers: [],
    });
    for (const { stdout, stderr } of [good, byVariables, bad, malformed])
      expect(stdout + stderr).not.toMatch(/s3cret/i);
  });

  it('a credentials file logs in by its key', async () => {
    const [own, other] = [nkeys.createUser(), nkeys.createUser()];
    servers = await startNats({ config: `authorization { users: [ { nkey: ${own.getPublicKey()} } ] }` });
    const files = { 'own.creds': own, 'other.creds': other };
    const folder = tempFiles(
      Object.fromEntries(
        Object.entries(files).map(([name, pair]) => [
          name,
          `-----BEGIN NATS USER JWT-----\ne30.e30.e30\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n${Buffer.from(pair.getSeed())}\n------END USER NKEY SEED------\n`,
        ]),
      ),
    );
    await works(servers.address, { natsCreds: join(folder, 'own.creds') });
    await expect(works(servers.address, { natsCreds: join(folder, 'other.creds') })).rejects.toThrow(
      'refuses the login',
    );
    await expect(works(servers.address, { natsCreds: join(folder, 'none.creds') })).rejects.toThrow(
      'none.creds',
    );
  });

  it('tls:// encrypts, and checks the certificate of the server', async () => {
    const folder = tempFiles();
    const file = (name: string) => join(folder, name);
    const openssl = (...argv: string[]) => execFileSync('openssl', argv, { stdio: 'pipe' });
    writeFileSync(file('names'), 'subjectAltName=IP:127.0.0.1');
    openssl(
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '2',
      '-subj',
      '/CN=test ca',
      '-keyout',
      file('ca.key'),
      '-out',
      file('ca.pem'),
    );
    openssl(
      'req',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-subj',
      '/CN=server',
      '-keyout',
      file('key.pem'),
      '-out',
      file('csr.pem'),
    );
    openssl(
      'x509',
      '-req',
      '-in',
      file('csr.pem'),
      '-CA',
      file('ca.pem'),
      '-CAkey',
      file('ca.key'),
      '-CAcreateserial',
      '-days',
      '2',
      '-extfile',
      file('names'),
      '-out',
      file('cert.pem'),
    );
    servers = await startNats({
      config: `tls { cert_file: "${file('cert.pem')}", key_file: "${file('key.pem')}" }`,
    });
    const address = servers.address.replace('nats://', 'tls://');
    await works(address, { natsCa: file('ca.pem') });
    const elsewhere = address.replace('127.0.0.1', 'localhost');
    await expect(works(elsewhere, { natsCa: file('ca.pem') })).rejects.toThrow('Hostname/IP does not match');
    await expect(works(address)).rejects.toThrow('name the certificate authority of the server by --nats-ca');
  });
});
