import { join } from 'node:path';
import { openFileAtomic } from '../util/files.ts';
import { QRELS_HEAD } from './beir-lines.ts';

type OpenFile = Awaited<ReturnType<typeof openFileAtomic>>;

/** Files of a data set in BEIR's layout that are written at the same time. */
export class BeirFiles {
  private readonly folder: string;
  private readonly open = new Map<string, OpenFile>();

  constructor(folder: string) {
    this.folder = folder;
  }

  /** Adds a record to a file of JSON lines. */
  async record(name: string, record: object): Promise<void> {
    await (await this.file(name)).append(`${JSON.stringify(record)}\n`);
  }

  /** Adds lines of `qrelsLine` to the judgements of a split. */
  async judgements(split: string, lines: readonly string[]): Promise<void> {
    await (await this.file(join('qrels', `${split}.tsv`), QRELS_HEAD)).append(lines.join(''));
  }

  /** Puts all files into their places. */
  async finish(): Promise<void> {
    for (const file of this.open.values()) await file.commit();
  }

  /** Removes what has been written. */
  async discard(): Promise<void> {
    for (const file of this.open.values()) await file.discard();
  }

  private async file(name: string, head = ''): Promise<OpenFile> {
    const known = this.open.get(name);
    if (known) return known;
    const file = await openFileAtomic(join(this.folder, name));
    this.open.set(name, file);
    if (head !== '') await file.append(head);
    return file;
  }
}
