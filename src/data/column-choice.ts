import { DataError, UsageError } from '../util/errors.ts';
import { nearest } from '../util/nearest.ts';
import { option } from '../util/option-name.ts';
import { COLUMNS, type Column, type Role, rolesOf, type TableKind, takesSeveral } from './columns.ts';
import { quote } from './corpus.ts';
import type { LoadOptions } from './load-options.ts';
import { type DataRecord, hasValue, placeOf } from './record.ts';

/** Number of unused columns that a note lists. */
const MOST_IGNORED = 20;

/** Recognises the columns of one kind of table, by the names that were chosen or else by the known ones. */
export class ColumnChoice {
  readonly #roles: readonly Role[];
  readonly #chosen: ReadonlyMap<Role, readonly string[]>;
  readonly #taken: ReadonlySet<string>;
  readonly #used = new Map<string, Role>();
  readonly #ignored = new Set<string>();
  /** Whether known names are recognised for a role whose chosen name a record lacks. */
  readonly #fallsBack: boolean;

  /**
   * @param chosen  names of columns by role; an empty name stands for "none"
   * @param options.others  further kinds of table of the same data, whose columns may be chosen too
   * @param options.fallsBack  accept the known names too, where files of one data set differ. Default false
   * @throws UsageError for a role that none of these tables has
   */
  constructor(
    kind: TableKind,
    chosen: LoadOptions['columns'] = {},
    { others = [], fallsBack = false }: { others?: readonly TableKind[]; fallsBack?: boolean } = {},
  ) {
    this.#roles = rolesOf(kind);
    this.#fallsBack = fallsBack;
    const all = [kind, ...others].flatMap(rolesOf);
    const given = Object.entries(chosen) as [Role, string | readonly string[] | undefined][];
    const own = new Map<Role, readonly string[]>();
    for (const [role, named] of given) {
      if (named === undefined) continue;
      if (!all.includes(role)) {
        const tables = [kind, ...others].join(' and ');
        throw new UsageError(`${option('columns')}: ${tables} have no column "${role}"`, {
          help: `their columns are ${all.join(', ')}`,
        });
      }
      const names = typeof named === 'string' ? [named] : named;
      if (names.length > 1 && !takesSeveral(role)) {
        throw new UsageError(`${option('columns')}: ${role} takes one column, found ${names.join(', ')}`);
      }
      if (this.#roles.includes(role))
        own.set(
          role,
          names.filter((name) => name !== ''),
        );
    }
    this.#chosen = own;
    this.#taken = new Set([...own.values()].flat());
  }

  /** Names under which a role is looked for, the first one preferred. */
  names(role: Role): readonly string[] {
    const chosen = this.#chosen.get(role);
    // A column chosen for one role has no other.
    const known = COLUMNS[role].names.filter((name) => !this.#taken.has(name));
    return chosen === undefined ? known : this.#fallsBack ? [...chosen, ...known] : chosen;
  }

  /** Selects the columns worth reading from those of a file; all if none is known, so that an error can list them. */
  readonly select = (names: readonly string[]): readonly string[] => {
    const wanted = names.filter((name) => this.#roles.some((role) => this.#matches(role, name)));
    if (wanted.length === 0) return names;
    for (const name of names) if (!wanted.includes(name)) this.#ignore(name);
    return wanted;
  };

  /** Tells whether a table with these columns has all that its kind needs. */
  fits(names: readonly string[], needed: readonly Role[]): boolean {
    return needed.every((role) => names.some((name) => this.#matches(role, name)));
  }

  #matches(role: Role, name: string): boolean {
    if (this.names(role).includes(name)) return true;
    const { pattern }: Column = COLUMNS[role];
    return pattern !== undefined && !this.#chosen.has(role) && pattern.test(name);
  }

  /**
   * Finds the column of a role in a record; undefined if there is none.
   *
   * @throws DataError where two columns could have the role
   */
  find(record: DataRecord, role: Role): string | undefined {
    const names = this.names(role);
    const present = names.filter((name) => hasValue(record, name));
    const [name] = present;
    if (present.length > 1 && name !== names[0] && !this.#fallsBack) {
      throw new DataError(`both ${present.map(quote).join(' and ')} could be the ${role}`, {
        ...placeOf(record),
        help: `say which: ${option('columns', { [role]: name! })}`,
      });
    }
    if (name !== undefined) this.#used.set(name, role);
    return name;
  }

  /** Finds the first column of a role in a record, in the order of its names; undefined if there is none. */
  first(record: DataRecord, role: Role): string | undefined {
    const name = this.names(role).find((each) => hasValue(record, each));
    if (name !== undefined) this.#used.set(name, role);
    return name;
  }

  /** Finds all columns of a role that takes several. */
  all(record: DataRecord, role: Role): string[] {
    const chosen = this.#chosen.get(role);
    if (chosen !== undefined && chosen.length > 1) {
      const present = chosen.filter((name) => hasValue(record, name));
      for (const name of present) this.#used.set(name, role);
      return present;
    }
    const name = this.find(record, role);
    const names = name === undefined ? [] : [name];
    const { pattern }: Column = COLUMNS[role];
    if (pattern === undefined || chosen !== undefined) return names;
    for (const key in record.fields) {
      if (!pattern.test(key) || !hasValue(record, key)) continue;
      names.push(key);
      this.#used.set(key, role);
    }
    return names;
  }

  /** Records columns that no role uses, so that a misspelt "negativ" is reported. */
  seen(record: DataRecord): void {
    if (this.#ignored.size > MOST_IGNORED) return;
    for (const key in record.fields) if (!this.#used.has(key) && hasValue(record, key)) this.#ignore(key);
  }

  #ignore(name: string): void {
    if (this.#ignored.size <= MOST_IGNORED) this.#ignored.add(name);
  }

  /** Error for a record without a column of a role. */
  missing(record: DataRecord, role: Role, more = ''): DataError {
    const present = Object.keys(record.fields);
    const list = `${present.slice(0, 8).map(quote).join(', ')}${present.length > 8 ? ', …' : ''}`;
    const has = present.length === 0 ? 'the record is empty' : `the record has ${list}`;
    const chosen = this.#chosen.get(role);
    const near = chosen?.flatMap((name) => nearest(name, present) ?? [])[0];
    const advice =
      chosen === undefined
        ? `understood are ${COLUMNS[role].names.join(', ')}; rename yours, or name it: ${option('columns', { [role]: 'NAME' })}`
        : near === undefined
          ? `${option('columns', { [role]: 'NAME' })} names the column`
          : `did you mean ${option('columns', { [role]: near })}?`;
    const message =
      chosen === undefined || chosen.length === 0
        ? `no ${role} column`
        : `no value for the ${role}, in ${chosen.map((name) => `column ${quote(name)}`).join(' or ')}`;
    return new DataError(message, { ...placeOf(record), help: `${has}; ${advice}${more}` });
  }

  /**
   * Checks that every chosen column was found.
   *
   * @param file  what the data is called in messages
   * @throws DataError where no record had one
   */
  check(file: string): void {
    for (const [role, names] of this.#chosen) {
      const absent = names.find((name) => !this.#used.has(name));
      if (absent === undefined) continue;
      const near = nearest(absent, [...this.#used.keys(), ...this.#ignored]);
      throw new DataError(
        `no record has a column ${quote(absent)}, which ${option('columns')} names as the ${role}`,
        {
          file,
          help:
            near !== undefined
              ? `did you mean ${option('columns', { [role]: near })}?`
              : `columns found: ${[...this.#used.keys(), ...this.#ignored].map(quote).join(', ')}`,
        },
      );
    }
  }

  /** Notes on columns that were recognised by another name, and on those not used. */
  notes(): string[] {
    const renamed = [...this.#used].filter(([name, role]) => name !== COLUMNS[role].names[0]);
    const ignored = [...this.#ignored].filter((name) => !this.#used.has(name));
    return [
      ...(renamed.length === 0
        ? []
        : [`columns: ${renamed.map(([name, role]) => `${name} as ${role}`).join(', ')}`]),
      ...(ignored.length === 0 ? [] : [`columns not used: ${ignored.join(', ')}`]),
    ];
  }

  /** Names of the chosen columns. */
  get chosen(): string[] {
    return [...this.#chosen.values()].flat();
  }
}
