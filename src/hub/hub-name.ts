import { UsageError } from '../util/errors.ts';

/** Name of a repository of the Hugging Face hub, at a revision. */
export interface HubName {
  /** Kind of repository. */
  readonly kind: 'model' | 'dataset';
  /** `organisation/name`, or a bare name for some of the hub's oldest repositories. */
  readonly repo: string;
  /** Branch, tag or commit. Default `main`. */
  readonly revision: string;
  /** Folder inside the repository; '' for the whole repository. */
  readonly folder: string;
}

/** Prefix that marks a text as a name on the hub, even if a file or folder of that name exists. */
export const HUB_PREFIX = 'hf:';

const DEFAULT_REVISION = 'main';
const PART = '[A-Za-z0-9](?:[\\w.-]{0,94}[A-Za-z0-9_])?';
const REPO = new RegExp(`^(${PART}/)?${PART}$`);
const REVISION = /^[\w][\w.-]*(\/[\w][\w.-]*)*$/;
const COMMIT = /^[0-9a-f]{40}$/;

/** Returns whether a revision is the hash of a commit, which never changes. */
export const isCommit = (revision: string): boolean => COMMIT.test(revision);

/**
 * Parses the name of a repository on the hub.
 *
 * Accepted are `organisation/name` and `organisation/name@revision`, and for data sets
 * `organisation/name/folder@revision`, each with or without the prefix `hf:`. Without the prefix, the
 * organisation is required. Returns undefined if a text without the prefix is not such a name; it is then a
 * path.
 *
 * @throws UsageError if a text with the prefix `hf:` is not a valid name.
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

/** Formats a name with another revision, in the form that `parseHubName` accepts. */
export const hubNameText = ({ repo, folder }: HubName, revision: string): string =>
  `${repo.includes('/') ? '' : HUB_PREFIX}${[repo, folder].filter((part) => part !== '').join('/')}@${revision}`;

/** Splits a text at the first `mark`. */
function splitOnce(text: string, mark: string): [string, string?] {
  const at = text.indexOf(mark);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + mark.length)];
}
