-- The retail schema of the demo and the tests, for SQLite. Server and tills
-- have the same tables: a till holds one dossier's rows, the server holds
-- every dossier's.
--
-- Money is in integer cents, VAT rates in hundredths of a percent (550 is
-- 5.5 %), quantities in thousandths of the article's unit, times are UTC text
-- as in 2026-02-03T09:30:00Z.
--
-- A code means something within its dossier only, so keys begin with the
-- dossier: two companies may use the same article code. Two tables are
-- otherwise on purpose: VAT rates are the nation's, and belong to no dossier;
-- an account's code is unique on the whole server, and its dossier is a column
-- like any other, so that an account can move from one dossier to another.

-- ---------------------------------------------------------------- downward

CREATE TABLE tva (
  code      TEXT    NOT NULL PRIMARY KEY,
  libelle   TEXT    NOT NULL,
  taux      INTEGER NOT NULL CHECK (taux BETWEEN 0 AND 10000)
);

CREATE TABLE article (
  dossier     TEXT    NOT NULL,
  code        TEXT    NOT NULL,
  libelle     TEXT    NOT NULL,
  famille     TEXT    NOT NULL DEFAULT '',
  unite       TEXT    NOT NULL DEFAULT 'U',
  tva         TEXT    NOT NULL REFERENCES tva (code),
  prix        INTEGER NOT NULL,                       -- cents, VAT included
  prix_achat  INTEGER NOT NULL DEFAULT 0,             -- never leaves the server
  actif       INTEGER NOT NULL DEFAULT 1,
  modifie_le  TEXT    NOT NULL DEFAULT '',
  PRIMARY KEY (dossier, code)
);
CREATE INDEX article_tva ON article (tva);
CREATE INDEX article_famille ON article (dossier, famille);

CREATE TABLE code_barre (
  dossier   TEXT    NOT NULL,
  article   TEXT    NOT NULL,
  rang      INTEGER NOT NULL,
  ean       TEXT    NOT NULL,
  PRIMARY KEY (dossier, article, rang),
  FOREIGN KEY (dossier, article) REFERENCES article (dossier, code) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE UNIQUE INDEX code_barre_ean ON code_barre (dossier, ean);

CREATE TABLE tarif (
  dossier   TEXT    NOT NULL,
  code      TEXT    NOT NULL,                         -- FIDELITE, PROMO …
  article   TEXT    NOT NULL,
  debut     TEXT    NOT NULL,                         -- first day, 2026-02-03
  fin       TEXT,                                     -- last day, NULL: open
  prix      INTEGER NOT NULL,
  PRIMARY KEY (dossier, code, article, debut),
  FOREIGN KEY (dossier, article) REFERENCES article (dossier, code) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE INDEX tarif_article ON tarif (dossier, article);

CREATE TABLE moyen_paiement (
  dossier      TEXT    NOT NULL,
  code         TEXT    NOT NULL,
  libelle      TEXT    NOT NULL,
  rendu        INTEGER NOT NULL DEFAULT 0,            -- change is given on it
  ouvre_tiroir INTEGER NOT NULL DEFAULT 0,
  ordre        INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (dossier, code)
);

CREATE TABLE caisse (
  dossier   TEXT    NOT NULL,
  numero    TEXT    NOT NULL,
  libelle   TEXT    NOT NULL,
  magasin   TEXT    NOT NULL DEFAULT '',
  PRIMARY KEY (dossier, numero)
);

CREATE TABLE utilisateur (
  code         TEXT    NOT NULL PRIMARY KEY,
  dossier      TEXT    NOT NULL,
  nom          TEXT    NOT NULL,
  profil       TEXT    NOT NULL DEFAULT 'VENDEUR',
  mot_de_passe BLOB,                                  -- a hash, or NULL for a badge
  actif        INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX utilisateur_dossier ON utilisateur (dossier);

-- Which user may work at which till.
CREATE TABLE utilisateur_caisse (
  dossier     TEXT NOT NULL,
  utilisateur TEXT NOT NULL REFERENCES utilisateur (code) ON DELETE CASCADE ON UPDATE CASCADE,
  caisse      TEXT NOT NULL,
  PRIMARY KEY (utilisateur, caisse),
  FOREIGN KEY (dossier, caisse) REFERENCES caisse (dossier, numero) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX utilisateur_caisse_caisse ON utilisateur_caisse (dossier, caisse);

-- ------------------------------------------------------------ both directions

CREATE TABLE client (
  dossier     TEXT    NOT NULL,
  code        TEXT    NOT NULL,
  nom         TEXT    NOT NULL,
  prenom      TEXT    NOT NULL DEFAULT '',
  adresse     TEXT    NOT NULL DEFAULT '',
  code_postal TEXT    NOT NULL DEFAULT '',
  ville       TEXT    NOT NULL DEFAULT '',
  courriel    TEXT,
  telephone   TEXT,
  carte       TEXT,                                   -- loyalty card, an EAN-13
  points      INTEGER NOT NULL DEFAULT 0,
  version     INTEGER NOT NULL DEFAULT 1,             -- raised at each change
  modifie_le  TEXT    NOT NULL DEFAULT '',
  PRIMARY KEY (dossier, code)
);
CREATE UNIQUE INDEX client_carte ON client (dossier, carte);
CREATE INDEX client_nom ON client (dossier, nom);

CREATE TABLE parametre_caisse (
  dossier   TEXT NOT NULL,
  caisse    TEXT NOT NULL,
  nom       TEXT NOT NULL,
  valeur    TEXT,
  PRIMARY KEY (dossier, caisse, nom),
  FOREIGN KEY (dossier, caisse) REFERENCES caisse (dossier, numero) ON DELETE CASCADE
);

-- ------------------------------------------------------------------ upward
--
-- A ticket is a document: it copies what it needs (labels, rates, prices) and
-- refers to no article, customer or account, which may change or go while the
-- ticket stays. Its lines and payments belong to it alone.

CREATE TABLE ticket (
  dossier     TEXT    NOT NULL,
  caisse      TEXT    NOT NULL,
  numero      INTEGER NOT NULL,                       -- without gaps for each till
  horodatage  TEXT    NOT NULL,
  utilisateur TEXT    NOT NULL,
  client      TEXT,
  annule      INTEGER NOT NULL DEFAULT 0,
  total_ht    INTEGER NOT NULL,
  total_tva   INTEGER NOT NULL,
  total_ttc   INTEGER NOT NULL,
  PRIMARY KEY (dossier, caisse, numero)
);
CREATE INDEX ticket_horodatage ON ticket (dossier, horodatage);

CREATE TABLE ticket_ligne (
  dossier   TEXT    NOT NULL,
  caisse    TEXT    NOT NULL,
  ticket    INTEGER NOT NULL,
  ligne     INTEGER NOT NULL,
  article   TEXT    NOT NULL,
  libelle   TEXT    NOT NULL,
  quantite  INTEGER NOT NULL,
  prix      INTEGER NOT NULL,
  remise    INTEGER NOT NULL DEFAULT 0,
  taux_tva  INTEGER NOT NULL,
  montant   INTEGER NOT NULL,
  PRIMARY KEY (dossier, caisse, ticket, ligne),
  FOREIGN KEY (dossier, caisse, ticket) REFERENCES ticket (dossier, caisse, numero) ON DELETE CASCADE
);

CREATE TABLE reglement (
  dossier   TEXT    NOT NULL,
  caisse    TEXT    NOT NULL,
  ticket    INTEGER NOT NULL,
  rang      INTEGER NOT NULL,
  moyen     TEXT    NOT NULL,
  montant   INTEGER NOT NULL,                         -- negative: change given back
  PRIMARY KEY (dossier, caisse, ticket, rang),
  FOREIGN KEY (dossier, caisse, ticket) REFERENCES ticket (dossier, caisse, numero) ON DELETE CASCADE
);

-- Journal des événements techniques: what the law wants remembered of a till.
CREATE TABLE jet (
  dossier     TEXT    NOT NULL,
  caisse      TEXT    NOT NULL,
  numero      INTEGER NOT NULL,                       -- without gaps for each till
  horodatage  TEXT    NOT NULL,
  code        TEXT    NOT NULL,
  utilisateur TEXT    NOT NULL DEFAULT '',
  libelle     TEXT    NOT NULL DEFAULT '',
  donnees     TEXT,
  PRIMARY KEY (dossier, caisse, numero)
);
