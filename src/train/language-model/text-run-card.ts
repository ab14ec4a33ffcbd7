import { ledgerRows } from '../../objective/ledger-rows.ts';
import { baseModel } from '../pin-models.ts';
import { type AnySettings, FREE_SETTINGS } from '../settings.ts';
import type { RunTexts } from './texts.ts';

/** Makes the facts of the card of a model that was trained on texts. */
export function textRunCard(
  settings: AnySettings & { readonly evalData: string | null; readonly model: string },
  { name, documents }: Pick<RunTexts, 'name' | 'documents'>,
  facts: {
    /** Words for the kind of model, such as `new language model`. */
    readonly kind: string;
    /** Whether the run began with a new model. */
    readonly fresh: boolean;
    readonly method: { readonly id: string; readonly description: string };
    readonly metrics: Readonly<Record<string, number>>;
    readonly ledger: Readonly<Record<string, number>>;
  },
) {
  const { kind, fresh, method, metrics, ledger } = facts;
  const { evalData } = settings;
  const measured = { dataset: evalData ?? name, split: evalData === null ? 'held-out' : 'dev', metrics };
  return {
    name: `${name}, ${kind}`,
    ...(!fresh && baseModel(settings.model)),
    datasets: [{ name, documents }],
    method,
    // Options that do not change the model are left out: the same training gives the same card.
    options: Object.fromEntries(Object.entries(settings).filter(([key]) => !FREE_SETTINGS.has(key))),
    cost: ledgerRows(ledger, { reproducible: true }),
    results: Object.keys(metrics).length > 0 ? [measured] : [],
  };
}
