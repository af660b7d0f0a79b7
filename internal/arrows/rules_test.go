package arrows

// arrows says which rooms a room may import. A room is a folder below the
// module's root; a name that ends in "/..." stands for a folder and all below
// it. What is not listed is refused.
var arrows = map[string][]string{
	"cmd/...":                      {"exporter", "importer", "keys/...", "internal/..."},
	"exporter":                     {"manifest", "internal/archive", "internal/change", "internal/durable"},
	"importer":                     {"manifest", "internal/archive", "internal/change", "internal/durable"},
	"manifest":                     {"keys"},
	"keys":                         {},
	"keys/rotation":                {"keys"},
	"internal/archive":             {},
	"internal/change":              {},
	"internal/durable":             {},
	"internal/config":              {},
	"internal/term":                {},
	"internal/schedule":            {},
	"internal/arrows":              {},
	"internal/database":            {"manifest", "internal/change"},
	"internal/database/sourcetest": {"internal/database", "internal/change", "manifest"},
	"internal/collect":             {"internal/database", "internal/change", "manifest"},
	"internal/sqlite":              {"internal/sqlite/sqlite3", "internal/collect", "internal/database", "internal/change", "manifest"},
	"internal/sqlite/sqlite3":      {"internal/change"},
	"internal/postgres":            {"internal/collect", "internal/database", "internal/change", "manifest"},
	"internal/release":             {"manifest", "internal/archive", "internal/durable"},
	"internal/proof":               {"manifest"},
	"internal/page":                {"internal/term"},
	"internal/status":              {"manifest", "internal/page", "internal/term"},
	"internal/verify":              {"manifest", "keys/...", "internal/archive", "internal/durable", "internal/page"},
	"internal/inspect":             {"manifest", "keys", "internal/archive", "internal/change", "internal/verify", "internal/term"},
	"internal/drop":                {"internal/durable"},
	"internal/drop/droptest":       {"internal/drop"},
	"internal/drop/sftp":           {"internal/drop"},
	"internal/sftpd":               {"internal/durable", "internal/drop"},
	"internal/retail":              {"internal/sqlite/sqlite3", "testdata/schema"},
	"testdata/schema":              {},

	// What only tests import.
	"internal/postgres/pgtest":     {},
	"internal/collect/collecttest": {"internal/collect", "internal/database", "internal/change", "internal/sqlite/...", "internal/retail", "manifest", "testdata/..."},
}

// testArrows are allowed to test files beside those above: the real thing on
// the other side, rather than a copy of it that cannot fail.
var testArrows = map[string][]string{
	"cmd/...":            {"manifest", "testdata/..."},
	"exporter":           {"keys", "internal/database", "internal/sqlite/...", "internal/postgres/...", "internal/retail", "testdata/..."},
	"importer":           {"keys", "internal/database", "internal/sqlite/...", "internal/postgres/...", "internal/retail", "testdata/..."},
	"internal/drop":      {"internal/drop/droptest", "internal/sftpd"},
	"internal/drop/sftp": {"internal/drop/droptest", "internal/sftpd", "internal/durable"},
	"internal/sftpd":     {"internal/drop/..."},
	"internal/sqlite":    {"internal/collect/...", "internal/database/...", "internal/retail", "testdata/..."},
	"internal/postgres":  {"internal/postgres/pgtest", "internal/collect/...", "internal/database/...", "internal/retail", "testdata/..."},
	"internal/collect":   {"internal/sqlite/..."},
	"internal/release":   {"keys"},
	"internal/proof":     {"keys"},
	"internal/verify":    {"testdata/..."},
	"internal/status":    {"keys"},
	"internal/inspect":   {"importer", "testdata/..."},
}

// only says which files alone may import a package from outside; a name that
// ends in "/..." stands for a package and all below it.
var only = map[string][]string{
	// Extract and Unarchive of this library write outside their folder
	// (CVE-2024-0406), and no fix is coming: one adaptor keeps to the calls
	// that do not.
	"github.com/mholt/archiver/v3": {"internal/archive/mholt.go", "internal/archive/mholt_test.go"},
	// One hand on signatures: what they accept is decided in one room.
	"github.com/hiddeco/sshsig": {"keys/..."},
	// Two SQLite libraries, or two ways to open a file, in one process drop
	// each other's locks (https://www.sqlite.org/howtocorrupt.html, 2.2).
	"modernc.org/sqlite":              {"internal/sqlite/..."},
	"modernc.org/sqlite/lib":          {"internal/sqlite/..."},
	"github.com/jackc/pgx/v5/...":     {"internal/postgres/..."},
	"github.com/pkg/sftp":             {"internal/drop/sftp/...", "internal/sftpd/..."},
	"github.com/pelletier/go-toml/v2": {"internal/config/..."},
}

// A steady call makes bytes or names survive a power cut. Only
// internal/durable may have them, where each is commented and tested, and the
// places named here, each for its reason. Calls are known by their name, so
// that also an os.Root's and a system call's are found.
var steady = map[string][]string{
	"Rename": {
		"internal/durable/...",
		"internal/drop/sftp/...", // on the server's side, through the protocol
	},
	"Link": {"internal/durable/..."},
	"Sync": {
		"internal/durable/...",
		"internal/drop/sftp/...", // on the server's side: fsync@openssh.com
		"keys/...",               // imports nothing of ours, and must not lose a key it has just made
	},
	"Symlink": {
		"internal/durable/...",
		"internal/drop/droptest/...", // what strangers may have put into a drop
	},
	"Fsync":       {"internal/durable/..."},
	"Syncfs":      {"internal/durable/..."},
	"Renameat":    {"internal/durable/..."},
	"Renameat2":   {"internal/durable/..."},
	"Linkat":      {"internal/durable/..."},
	"Symlinkat":   {"internal/durable/..."},
	"PosixRename": {"internal/drop/sftp/..."},
}

// The lengths that a reader can keep in mind. Tests may be longer: a table of
// cases is read row by row.
const (
	maxFile     = 400
	maxFunction = 80
)

// roots are the folders that hold packages at the top.
var roots = []string{"cmd", "exporter", "importer", "internal", "keys", "manifest", "testdata"}
