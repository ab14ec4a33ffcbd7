import { UsageError } from '../util/errors.ts';

/** A repository of the Hugging Face hub, at a revision. */
export interface HubName {
  readonly kind: 'model' | 'dataset';
  /** `organisation/name`, or a bare name of the hub's first years. */
  readonly repo: string;
  /** Branch, tag, or commit. Default `main`. */
  readonly revision: string;
  /** Folder inside the repository; '' for the whole. */
  readonly folder: string;
}

/** What makes a name one of the hub, whatever lies on the disk. */
export const HUB_PREFIX = 'hf:';

const DEFAULT_REVISION = 'main';
const PART = '[A-Za-z0-9](?:[\\w.-]{0,94}[A-Za-z0-9_])?';
const REPO = new RegExp(`^(${PART}/)?${PART}$`);
const REVISION = /^[\w][\w.-]*(\/[\w][\w.-]*)*$/;
const COMMIT = /^[0-9a-f]{40}$/;

/** Whether a revision names one commit for ever. */
export const isCommit = (revision: string): boolean => COMMIT.test(revision);

/**
 * Reads `organisation/name`, `organisation/name@revision` or, of a data set, `organisation/name/folder@revision`, each
 * perhaps after `hf:`; undefined where the text is no such name (it then is a path). Without `hf:` a model's name needs its
 * organisation.
 *
 * @throws UsageError for a text that says `hf:` and is no name
 */
export function parseHubName(text: string, kind: HubName['kind']): HubName | undefined {
  const explicit = text.startsWith(HUB_PREFIX);
  const [path = '', revision = DEFAULT_REVISION] = splitOnce(
    explicit ? text.slice(HUB_PREFIX.length) : text,
    '@',
  );
  const parts = path.split('/');
  const repo = parts.slice(0, 2).join('/');
  const folder = parts.slice(2);
  const isName =
    REPO.test(repo) &&
    !/--|\.\./.test(repo) &&
    REVISION.test(revision) &&
    !revision.includes('..') &&
    (folder.length === 0 || kind === 'dataset') &&
    folder.every((part) => part !== '' && part !== '.' && part !== '..' && !part.includes('\\'));
  if (isName && (explicit || parts.length >= 2)) return { kind, repo, revision, folder: folder.join('/') };
  if (!explicit) return undefined;
  throw new UsageError(`"${text}" is no name on the hub`, {
    help: `for example ${HUB_PREFIX}${kind === 'model' ? 'organisation/name@revision' : 'organisation/name/folder@revision'}; folder and @revision may be left out`,
  });
}

/** The name with another revision, as `parseHubName` reads it. */
export const hubNameText = ({ repo, folder }: HubName, revision: string): string =>
  `${repo.includes('/') ? '' : HUB_PREFIX}${[repo, folder].filter((part) => part !== '').join('/')}@${revision}`;

/** The text before and after the first `mark`. */
function splitOnce(text: string, mark: string): [string, string?] {
  const at = text.indexOf(mark);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + mark.length)];
}
