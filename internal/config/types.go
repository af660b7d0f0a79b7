package config

// The words that a configuration may hold at its places of choice.
const (
	DriverSQLite   = "sqlite"
	DriverPostgres = "postgres"

	DirectionDown = "down" // server to tills
	DirectionUp   = "up"   // tills to server
	DirectionBoth = "both"

	CaptureKey     = "key"     // the journal names the row
	CaptureColumns = "columns" // and which of its columns changed

	ConflictNewest = "newest"
	ConflictServer = "server"
	ConflictTill   = "till"
	ConflictHold   = "hold"

	ActionExport  = "export"
	ActionImport  = "import"
	ActionSync    = "sync"
	ActionCollect = "collect"
	ActionUpdate  = "update"

	DriftRefuse = "refuse"
	DriftIgnore = "ignore"
)

// Common is what all files may hold. All paths in it are absolute.
type Common struct {
	File      string    `toml:"-"` // the file itself
	Database  Database  `toml:"database"`
	Drop      Drop      `toml:"drop"`
	Signing   Signing   `toml:"signing"`
	Trust     Trust     `toml:"trust"`
	Paths     Paths     `toml:"paths"`
	Head      Head      `toml:"head"`
	Processes []Process `toml:"process"`
}

// A Server is server.toml.
type Server struct {
	Common
	Serve    *Serve    `toml:"serve"`
	Dossiers []Dossier `toml:"dossier"`
}

// A Till is till.toml.
type Till struct {
	Common
	Identity Identity `toml:"till"`
	Users    *Users   `toml:"users"` // nil: no user is filtered
	Schema   Schema   `toml:"schema"`
	JET      *JET     `toml:"jet"` // nil: no technical event is written
	Sync     Sync     `toml:"sync"`
	Update   *Update  `toml:"update"` // nil: this till installs nothing
}

// A Database says where the rows are.
type Database struct {
	Driver string `toml:"driver"` // sqlite (default) or postgres
	DSN    string `toml:"dsn"`    // sqlite: path of the file; postgres: connection string without a password
	Outbox string `toml:"outbox"` // the till's journal table, MICPTRACK by default; empty on a server
}

// Signing says who signs, and with which key.
type Signing struct {
	Principal string `toml:"principal"` // server@acme, till-017@acme, release@acme
	Key       string `toml:"key"`       // OpenSSH private key; with Agent the public key to look for there
	Agent     bool   `toml:"agent"`     // the private key is in the SSH agent
}

// Trust says whose signatures are believed.
type Trust struct {
	AllowedSigners string `toml:"allowed_signers"`
}

// Paths are the program's own working folders.
type Paths struct {
	Outbox string `toml:"outbox"` // sealed batches, kept until they are acknowledged
	Inbox  string `toml:"inbox"`  // fetched batches
	Stage  string `toml:"stage"`  // private copies while a batch is applied
}

// Head is how the signed statement of the newest batch is made.
type Head struct {
	Expires Duration `toml:"expires"` // 24h by default, 30d in a release.toml
}

// A Process is one scheduled action of "run".
type Process struct {
	Name    string   `toml:"name"`
	Action  string   `toml:"action"`
	Dossier string   `toml:"dossier"` // filled in where the file leaves no choice
	Every   Duration `toml:"every"`   // 0: only by "run NAME --once"
	Jitter  Duration `toml:"jitter"`  // a random delay up to this before each run
}

// A Dossier is one company's folder in the ERP, and its stream to the tills.
type Dossier struct {
	Code string `toml:"code"`
	// Schema has the dossier's tables, on PostgreSQL; empty: each is looked
	// for along the search_path of the account.
	Schema string `toml:"schema"`
	// BaselineEvery is the age from which on the newest baseline is followed
	// by another; 0: only by "export --baseline".
	BaselineEvery Duration `toml:"baseline_every"`
	// Retention is how long archives behind a baseline that some till has
	// applied stay on the drop; 0: for ever. Signed manifests always stay.
	Retention Duration `toml:"retention"`
	Tables    []Table  `toml:"table"`
}

// A Table is one table of a dossier's exchange.
type Table struct {
	Name          string   `toml:"name"`
	Schema        string   `toml:"schema"`         // PostgreSQL: the schema that has it; the dossier's by default
	Direction     string   `toml:"direction"`      // down (default), up, both
	DossierColumn string   `toml:"dossier_column"` // empty: the table's rows belong to every dossier
	Exclude       []string `toml:"exclude"`        // columns that never leave
	Capture       string   `toml:"capture"`        // key (default), columns
	Conflict      string   `toml:"conflict"`       // direction both only; newest by default
	Append        bool     `toml:"append"`         // rows are only ever added: tickets, JET; without it the till's row replaces the server's

	// Of tables that go down. A change of a row here ships the row of the
	// table Touches that it refers to once more: an attachment its user.
	Touches        string   `toml:"touches"`
	TouchesColumns []string `toml:"touches_columns"` // columns here that hold that table's key; empty: the foreign key to it

	// Of tables that go up or both ways. What is empty is found in the
	// database's schema where it can be.
	TillColumn    string   `toml:"till_column"`    // holds the number of the till that the row belongs to
	NumberColumn  string   `toml:"number_column"`  // counts without gaps for each till; with Append only
	Totals        []string `toml:"totals"`         // columns whose sums are control totals
	Parent        string   `toml:"parent"`         // table of the row that this one is a part of: a ticket's line has the ticket
	ParentColumns []string `toml:"parent_columns"` // columns here that hold the parent's key, in its order
	VersionColumn string   `toml:"version_column"` // the larger wins with conflict = "newest"
}

// Serve is the embedded SFTP server.
type Serve struct {
	Listen  string      `toml:"listen"`   // host:port, ":2022" by default
	HostKey string      `toml:"host_key"` // private key file, keys/ssh_host by default
	Root    string      `toml:"root"`     // folder to serve; the drop's own when that is a local one
	Users   []ServeUser `toml:"user"`
}

// A ServeUser is one login: a till that sees its dossier's folder and writes
// its own, the server's own exporter (Writer), or a release manager, who writes
// the packages (Release).
type ServeUser struct {
	Name    string     `toml:"name"`
	Dossier string     `toml:"dossier"` // may be empty but for a till, where there is one dossier only
	Till    string     `toml:"till"`
	Writer  bool       `toml:"writer"`
	Release bool       `toml:"release"`
	Keys    PublicKeys `toml:"key"`
}

// Identity is who a till is.
type Identity struct {
	Number      string    `toml:"number"`
	Dossier     string    `toml:"dossier"`      // may be empty when DefaultUser is given
	DefaultUser string    `toml:"default_user"` // the user whose dossier the till follows
	ServiceUser string    `toml:"service_user"` // the account the processes run under
	Registry    *Registry `toml:"registry"`     // nil: not checked
}

// Registry is the table in which a till must find its own number.
type Registry struct {
	Table        string `toml:"table"`
	Key          string `toml:"key"`
	DeleteOthers bool   `toml:"delete_others"` // other tills' rows do not stay here
}

// Schema says what becomes of a batch that does not quite fit the till's
// tables: "refuse" (default) the whole batch, or "ignore", and record it.
type Schema struct {
	MissingColumn string `toml:"missing_column"` // the batch has a column that the till lacks
	ChangedType   string `toml:"changed_type"`   // of another type than the till's
	NotNull       string `toml:"not_null"`       // the till's column is NOT NULL without a default, and the batch lacks it
}

// JET is the table in which a till remembers technical events (journal des
// événements techniques), and what the program writes there itself.
type JET struct {
	Table string `toml:"table"`
	// The table's columns.
	Dossier string   `toml:"dossier"`
	Till    string   `toml:"till"`
	Number  string   `toml:"number"` // counts without gaps for each till
	Time    string   `toml:"time"`
	Code    string   `toml:"code"`
	User    string   `toml:"user"`
	Text    string   `toml:"text"`
	Data    string   `toml:"data"`
	Codes   JETCodes `toml:"codes"`
}

// JETCodes are the codes of the events that the program writes. The codes of
// the norm are not public, hence these are words to be replaced. An event
// whose code is empty is not written.
type JETCodes struct {
	Offline string `toml:"offline"` // the drop cannot be reached any more
	Online  string `toml:"online"`  // and can again
	Load    string `toml:"load"`    // the whole reference data was loaded
	Purge   string `toml:"purge"`   // rows left the outbox, covered by a receipt
	Refused string `toml:"refused"` // a batch or receipt was refused
	Update  string `toml:"update"`  // the software was updated
}

// Sync is how "sync" stays in the background.
type Sync struct {
	MaxBackoff Duration `toml:"max_backoff"` // the longest wait between two tries without a network; 5m by default
}

// Users says which accounts a till keeps: by Attachment or by TillColumn,
// never both.
type Users struct {
	Table      string      `toml:"table"`
	Key        string      `toml:"key"`
	Attachment *Attachment `toml:"attachment"`
	TillColumn string      `toml:"till_column"`
	// DossierColumn holds a user's dossier; empty: "dossier", where the
	// table has such a column.
	DossierColumn string `toml:"dossier_column"`
}

// Attachment is the table that says which user may work at which till.
type Attachment struct {
	Table string `toml:"table"`
	User  string `toml:"user"` // its column with the user's key
	Till  string `toml:"till"` // its column with the till's number
}
