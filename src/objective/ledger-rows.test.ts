import { expect, it } from 'vitest';
import { CostLedger } from './cost-ledger.ts';
import { ledgerRows } from './ledger-rows.ts';

it('shows sums and their parts, without amounts of 0', async () => {
  const ledger = new CostLedger();
  ledger.documents('positive', 4000);
  ledger.documents('negative', 3000);
  ledger.documents('refresh', 1000);
  ledger.queries(8000);
  ledger.diagnosis(6000);
  ledger.scoring(1.68e10);
  ledger.cache(8 * 2 ** 20);
  const totals = { ...ledger.totals, stepMs: 6000, sampleMs: 1500, evaluateMs: 2500 };
  const counts = [
    { name: 'documents embedded', amount: '8,000' },
    { name: 'positives', amount: '4,000', share: '50 %' },
    { name: 'negatives', amount: '3,000', share: '38 %' },
    { name: 'to fill and refresh the cache', amount: '1,000', share: '13 %' },
    { name: 'queries embedded', amount: '8,000' },
    { name: 'texts embedded for diagnosis', amount: '6,000' },
    { name: 'scoring of the cache', amount: '16.8GFLOP' },
    { name: 'largest cache', amount: '8.00 MiB' },
  ];
  expect(ledgerRows(totals)).toEqual([
    ...counts,
    { name: 'training time', amount: '7.5s' },
    { name: 'choosing negatives', amount: '1.5s', share: '20 %' },
    { name: 'loss and gradient', amount: '6.0s', share: '80 %' },
    { name: 'evaluating', amount: '2.5s' },
  ]);
  expect(ledgerRows(totals, { reproducible: true })).toEqual(
    counts.filter(({ name }) => !name.includes('diagnosis')),
  );
  expect(ledgerRows({})).toEqual([]);
});

it('shows amounts under unknown names with the sum that they are part of', () => {
  const totals = {
    documentEncodes: 10,
    neighbourEncodes: 10,
    tokens: 400,
    trainingTokens: 300,
    readerTokens: 100,
    messages: 3,
    stepMs: 3000,
    gatherMs: 1000,
  };
  expect(ledgerRows(totals)).toEqual([
    { name: 'documents embedded', amount: '10' },
    { name: 'neighbour', amount: '10', share: '100 %' },
    { name: 'tokens', amount: '400' },
    { name: 'training', amount: '300', share: '75 %' },
    { name: 'reader', amount: '100', share: '25 %' },
    { name: 'training time', amount: '4.0s' },
    { name: 'loss and gradient', amount: '3.0s', share: '75 %' },
    { name: 'gather', amount: '1.0s', share: '25 %' },
    { name: 'messages', amount: '3' },
  ]);
});
