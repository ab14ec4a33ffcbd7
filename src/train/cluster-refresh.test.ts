import { expect, it } from 'vitest';
import { clusterRefresh } from './cluster-refresh.ts';
import { resolveSettings } from './settings.ts';

const settingsOf = (more: Partial<Parameters<typeof resolveSettings>[0]>) =>
  resolveSettings({ data: 'data', out: 'runs/x', ...more });

const cluster = 'nats://127.0.0.1:1/test';

it.each([
  [{ method: 'in-batch' }, { cluster }, 'embeds tables, and the method in-batch has none'],
  [
    { method: 'negative-cache', refresh: 'every:10' },
    { cluster },
    "embeds a table beside training, and refresh: 'every:10' does not ask for that",
  ],
  [{ method: 'async-index' }, { natsCa: 'ca.pem' }, 'natsCa needs cluster'],
  [{ method: 'async-index' }, { cluster: 'http://host' }, 'is not one of NATS'],
])('%o with %o is refused', async (options, given, message) => {
  const work = clusterRefresh(given, settingsOf(options), undefined);
  await expect(work).rejects.toThrow(message);
});

it('needs no cluster, and finds a server that is not there before training', async () => {
  expect(await clusterRefresh({}, settingsOf({ method: 'in-batch' }), undefined)).toBeUndefined();
  await expect(clusterRefresh({ cluster }, settingsOf({ method: 'async-index' }), undefined)).rejects.toThrow(
    'nats://127.0.0.1:1/test: ',
  );
});
