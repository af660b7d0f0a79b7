-- The table of the speed measurements: 16 columns, an integer key, one unique
-- index and two more.
CREATE TABLE article (
  id           INTEGER PRIMARY KEY,
  code         TEXT    NOT NULL,
  barcode      TEXT    NOT NULL,
  label        TEXT    NOT NULL,
  short_label  TEXT    NOT NULL,
  category_id  INTEGER NOT NULL,
  supplier_id  INTEGER,
  vat          TEXT    NOT NULL,
  price        INTEGER NOT NULL,
  cost         INTEGER,
  weight       REAL,
  unit         TEXT    NOT NULL,
  stock        INTEGER NOT NULL,
  active       INTEGER NOT NULL,
  note         TEXT,
  updated_at   TEXT    NOT NULL
);
CREATE UNIQUE INDEX article_code ON article (code);
CREATE INDEX article_barcode ON article (barcode);
CREATE INDEX article_category ON article (category_id);
