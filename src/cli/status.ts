import { Store } from '../store/store.ts';
import { STORE_OPTION } from '../store/store-options.ts';
import { storeStatus } from '../store/store-status.ts';
import { count, formatBytes } from '../util/format.ts';
import { defineCommand } from './command.ts';

/** The command `undrift status`: describes a store. */
export const statusCommand = defineCommand({
  name: 'status',
  summary: 'say what a store holds, by version of the encoder',
  options: { store: { ...STORE_OPTION.store, required: true } },
  examples: ['--store stores/docs'],
  async run(options, io) {
    const store = await Store.open(options.store, { onNote: (note) => io.log(`note: ${note}`) });
    const status = await storeStatus(store);
    await store.close();
    const lines = status.spaces.map(({ id, model, dimension, rows, share, approximate, current, oldest }) => {
      const facts = [
        `${count(rows)} vectors (${(100 * share).toFixed(1)} %)`,
        `D ${dimension}`,
        ...(approximate ? [`approximate: ${approximate}`] : []),
        ...(oldest === undefined ? [] : [`oldest ${new Date(oldest).toISOString().slice(0, 16)}`]),
      ];
      return `${current ? '*' : ' '} ${id}  ${facts.join(', ')}  ${model}\n`;
    });
    return {
      json: { store: options.store, ...status },
      text: `${count(status.passages)} passages, ${formatBytes(status.bytes)} on the disk\n${lines.join('')}`,
    };
  },
});
