import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { noNats, startNats } from './nats-server.ts';

/** Reads what a server says of itself when a client connects. Fails where nothing is said for a second. */
async function greeting(port: number): Promise<{ server_name: string; jetstream: boolean }> {
  const socket = connect(port, '127.0.0.1');
  try {
    const [line] = await once(socket, 'data', { signal: AbortSignal.timeout(1000) });
    return JSON.parse(String(line).replace(/^INFO /, ''));
  } finally {
    socket.destroy();
  }
}

describe.skipIf(noNats !== undefined)(`servers of NATS for tests${noNats ? `: ${noNats}` : ''}`, () => {
  it('one is frozen, wakes, is killed and comes back at its port', async () => {
    const { address, servers, stop } = await startNats();
    const [only] = servers;
    expect(address).toBe(`nats://127.0.0.1:${only!.port}`);
    expect(await greeting(only!.port)).toMatchObject({ server_name: 'n1', jetstream: true });
    const { pid } = only!;
    await only!.freeze();
    await expect(greeting(only!.port)).rejects.toThrow(/aborted/);
    only!.wake();
    expect(await greeting(only!.port)).toMatchObject({ server_name: 'n1' });
    await only!.kill();
    expect(only!.pid).toBeUndefined();
    await expect(greeting(only!.port)).rejects.toThrow(/ECONNREFUSED/);
    await only!.start();
    expect(only!.pid).not.toBe(pid);
    expect(await greeting(only!.port)).toMatchObject({ server_name: 'n1' });
    await stop();
    expect(only!.pid).toBeUndefined();
  });

  it('three elect a leader, go on without one of them, and take it back', async () => {
    const { servers, named, stop } = await startNats({ servers: 3 });
    await named('n2').kill();
    for (const name of ['n1', 'n3'])
      expect(await greeting(named(name).port)).toMatchObject({ server_name: name });
    await named('n2').start();
    expect(new Set(servers.map(({ port }) => port)).size).toBe(3);
    await stop();
  });

  it('a configuration that the server refuses is told with its log', async () => {
    await expect(startNats({ config: 'no_such_setting: 1' })).rejects.toThrow(
      /n1: the server ended[\s\S]*no_such_setting/,
    );
  });
});
