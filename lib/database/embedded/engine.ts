export type Row = Record<string, unknown>;

/** One connection inside one transaction. Values are bound as text; cast them in the statement. */
export type Session = {
  query(text: string, values?: readonly (string | null)[]): Promise<Row[]>;
  /** Runs several statements without values. */
  script(text: string): Promise<void>;
};

/** A PostgreSQL of ours: PGlite, or a server behind DATABASE_URL. Errors are PostgreSQL's, with `code` as SQLSTATE. */
export type Engine = {
  transaction<T>(work: (session: Session) => Promise<T>): Promise<T>;
  /** Outside any transaction, for what refuses one, such as VACUUM. */
  script(text: string): Promise<void>;
  close(): Promise<void>;
};
