/** Content of another kind than the name of a file says. */
export interface ForeignFile {
  /** Noun phrase that says what the file is. */
  readonly is: string;
  /** Advice. */
  readonly help: string;
}

/** Number of bytes of a file's beginning by which its kind is recognised. */
export const RECOGNISED_BYTES = 64;

const startsWith =
  (...beginnings: readonly string[]) =>
  (text: string): boolean =>
    beginnings.some((beginning) => text.startsWith(beginning));

const KINDS: readonly (readonly [(text: string) => boolean, ForeignFile])[] = [
  [
    startsWith('version https://git-lfs'),
    {
      is: 'a pointer of Git LFS in place of the file',
      help: 'fetch the file itself: git lfs pull in the clone, or download it by itself',
    },
  ],
  [
    (text) => /^\s*<(!doctype html|html|\?xml)/i.test(text),
    {
      is: 'a web page in place of the file',
      help: 'download the file itself, not the page that shows it',
    },
  ],
  [
    startsWith('PK\x03\x04'),
    {
      is: 'a zip archive, such as torch.save writes',
      help: 'unpack it, or save the content in the format that the name says',
    },
  ],
  [startsWith('\x1f\x8b'), { is: 'gzip data', help: 'unpack it with gunzip' }],
  [
    startsWith('GGUF'),
    { is: 'a GGUF model', help: 'use the original model with config.json and model.safetensors' },
  ],
  [
    startsWith('\x80\x02', '\x80\x03', '\x80\x04', '\x80\x05'),
    { is: 'a pickle of Python', help: 'save the content in the format that the name says' },
  ],
];

/**
 * Recognises a file of another kind that often lies under a name by mistake, from its first bytes; undefined if
 * there is no sign of one.
 */
export function foreignFile(start: Uint8Array | string): ForeignFile | undefined {
  const text =
    typeof start === 'string'
      ? start.slice(0, RECOGNISED_BYTES)
      : Buffer.from(start.subarray(0, RECOGNISED_BYTES)).toString('latin1');
  return KINDS.find(([sign]) => sign(text))?.[1];
}
