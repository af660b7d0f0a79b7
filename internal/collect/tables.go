package collect

import "caisseauto/internal/database"

// tables are those without which nothing works.
var tables = append([]string{"caisseauto_collected"}, database.LedgerTables...)

// tablesSQL makes the tables of the collecting side, beside the ledger's,
// in SQLite's words.
//
//   - caisseauto_dossier counts the integrated batches of all tills.
//   - caisseauto_published is what the dossier's stream down has published: a
//     till that says it has applied something else has it from elsewhere.
//   - caisseauto_collected is one row for each till: what its next receipt
//     says, and what its newest head said.
//   - caisseauto_number has the numbers of a till's rows that have come,
//     integrated or not, as ranges that neither meet nor overlap.
//   - caisseauto_quarantine has one row for each unit, and
//     caisseauto_quarantine_row its rows: members as in an archive, or the
//     bytes of an archive that could not be read (shape is then empty).
const tablesSQL = `CREATE TABLE IF NOT EXISTS caisseauto_dossier(
  dossier    TEXT    NOT NULL PRIMARY KEY,
  integrated INTEGER NOT NULL -- batches of its tills
);
CREATE TABLE IF NOT EXISTS caisseauto_published(
  stream   TEXT    NOT NULL,
  epoch    INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  digest   TEXT    NOT NULL,
  PRIMARY KEY(stream, epoch, sequence)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS caisseauto_collected(
  stream           TEXT    NOT NULL PRIMARY KEY,
  dossier          TEXT    NOT NULL,
  till             TEXT    NOT NULL,
  incarnation      TEXT    NOT NULL DEFAULT '', -- that the last batch named
  integrated       INTEGER NOT NULL DEFAULT 0,  -- the number that it got
  issue            INTEGER NOT NULL DEFAULT 0,  -- of the receipt that is due
  shipped          INTEGER NOT NULL DEFAULT 0,  -- of the one that was shipped
  totals           TEXT    NOT NULL DEFAULT '[]',
  seen_at          TEXT    NOT NULL DEFAULT '', -- when the newest head was seen
  head_digest      TEXT    NOT NULL DEFAULT '', -- of its file
  head_issue       INTEGER NOT NULL DEFAULT 0,
  head_issued      TEXT    NOT NULL DEFAULT '',
  head_epoch       INTEGER NOT NULL DEFAULT 0,
  head_sequence    INTEGER NOT NULL DEFAULT 0,
  head_manifest    TEXT    NOT NULL DEFAULT '',
  head_incarnation TEXT    NOT NULL DEFAULT '',
  applied_epoch    INTEGER NOT NULL DEFAULT 0,
  applied_sequence INTEGER NOT NULL DEFAULT 0,
  applied_digest   TEXT    NOT NULL DEFAULT '',
  host             TEXT    NOT NULL DEFAULT '',
  version          TEXT    NOT NULL DEFAULT '',
  waiting          INTEGER NOT NULL DEFAULT 0,
  oldest_waiting   TEXT    NOT NULL DEFAULT '',
  free_bytes       INTEGER NOT NULL DEFAULT 0,
  alarms           TEXT    NOT NULL DEFAULT '[]' -- what the till says of itself
);
CREATE TABLE IF NOT EXISTS caisseauto_number(
  stream TEXT    NOT NULL,
  tab    TEXT    NOT NULL,
  lo     INTEGER NOT NULL,
  hi     INTEGER NOT NULL,
  PRIMARY KEY(stream, tab, lo)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS caisseauto_quarantine(
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  at        TEXT    NOT NULL,
  stream    TEXT    NOT NULL,
  dossier   TEXT    NOT NULL,
  till      TEXT    NOT NULL,
  epoch     INTEGER NOT NULL, -- of the batch
  sequence  INTEGER NOT NULL,
  tab       TEXT    NOT NULL, -- of the first row; empty: the whole batch
  key       TEXT    NOT NULL, -- of it, as a JSON array
  rows      INTEGER NOT NULL,
  reason    TEXT    NOT NULL,
  tried     INTEGER NOT NULL DEFAULT 0,         -- how often it was retried
  state     TEXT    NOT NULL DEFAULT 'waiting', -- or 'integrated', 'discarded'
  closed_at TEXT,
  closed    TEXT    -- why
);
CREATE INDEX IF NOT EXISTS caisseauto_quarantine_stream ON caisseauto_quarantine(stream, state, id);
CREATE TABLE IF NOT EXISTS caisseauto_quarantine_row(
  unit  INTEGER NOT NULL REFERENCES caisseauto_quarantine(id) ON DELETE CASCADE,
  n     INTEGER NOT NULL,
  shape TEXT    NOT NULL, -- the table as the manifest describes it
  data  BLOB    NOT NULL,
  PRIMARY KEY(unit, n)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS caisseauto_conflict(
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  at       TEXT    NOT NULL,
  stream   TEXT    NOT NULL,
  dossier  TEXT    NOT NULL,
  till     TEXT    NOT NULL,
  epoch    INTEGER NOT NULL, -- of the batch
  sequence INTEGER NOT NULL,
  tab      TEXT    NOT NULL,
  key      TEXT    NOT NULL, -- as a JSON array
  base     TEXT    NOT NULL, -- the row before the till changed it; all three as members of an archive, empty: there was none
  server   TEXT    NOT NULL,
  sent     TEXT    NOT NULL, -- the till's
  rule     TEXT    NOT NULL, -- newest, server, till, hold
  winner   TEXT    NOT NULL  -- server, till, or nobody
);
CREATE INDEX IF NOT EXISTS caisseauto_conflict_stream ON caisseauto_conflict(stream, id);
CREATE TABLE IF NOT EXISTS caisseauto_alarm(
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  at          TEXT NOT NULL,
  dossier     TEXT NOT NULL,
  till        TEXT NOT NULL,
  kind        TEXT NOT NULL,
  text        TEXT NOT NULL,
  cleared_at  TEXT,
  cleared_why TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS caisseauto_alarm_open ON caisseauto_alarm(dossier, till, kind, text) WHERE cleared_at IS NULL;
`
