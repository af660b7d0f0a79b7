package database

import "caisseauto/manifest"

// A TableConfig says what one stream takes of one table.
type TableConfig struct {
	Name string
	// Schema is the schema that has the table, on PostgreSQL only; empty: the
	// first of the connection's search_path that has one of that name.
	Schema        string
	Key           []string // empty: the PRIMARY KEY
	DossierColumn string   // empty: every row belongs to the stream
	Dossier       string   // the value in DossierColumn of the stream's rows
	Exclude       []string // columns that are not shipped
	Columns       bool     // journal which columns changed, so that a change ships as a patch
	Touches       string   // another table of the stream: a change of a row here ships that table's row whole once more
	// TouchesColumns are the columns here that hold the touched table's key,
	// in its order; empty: those of the foreign key to it.
	TouchesColumns []string
}

// A SourceConfig is what one stream carries.
type SourceConfig struct {
	Tables  []TableConfig
	Uploads []UploadConfig // what the stream's tills are to send
}

// The ways to resolve a conflict of a table of mode both: the row with the
// larger version counts, the server's, the till's, or nobody's until an
// operator has decided.
const (
	ConflictNewest = "newest"
	ConflictServer = "server"
	ConflictTill   = "till"
	ConflictHold   = "hold"
)

// An UploadConfig says what a dossier takes of one table from its tills. What
// is empty is found in the server's schema; see each field.
type UploadConfig struct {
	Name string
	// Schema is the schema that has the table, on PostgreSQL only; empty: the
	// first of the connection's search_path that has one of that name.
	Schema        string
	Mode          manifest.Mode
	Key           []string // empty: the PRIMARY KEY
	DossierColumn string   // empty: no column says whose row it is
	Dossier       string   // the dossier's code, which must stand in it
	TillColumn    string   // empty: "caisse" or "till", where the table has such a column
	NumberColumn  string   // empty, mode append: what the key has beside dossier and till, when that is one whole-number column
	Totals        []string // columns to be summed up
	Parent        string   // empty, mode append: the only other such table that a foreign key names
	ParentColumns []string // empty: those of the foreign key to the parent
	Exclude       []string // columns that a till may not write
	Conflict      string   // mode both; empty: newest
	VersionColumn string   // conflict newest; empty: the first of versionColumns that is there
}
