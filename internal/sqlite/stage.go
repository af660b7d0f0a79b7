package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/sqlite/sqlite3"
)

const (
	// stageChunk is how much of encoded rows makes a record of the stage:
	// enough to forget the cost of a record, little to decode at once.
	stageChunk = 128 << 10
	// stageMemory is what a stage holds in memory before it makes a file:
	// 20,000 rows of 800 bytes.
	stageMemory = 16 << 20
	// stageKeys is how many keys a stage remembers in memory.
	stageKeys = 50_000
	// stagePattern names stage files, so that those of a killed process can
	// be told from others.
	stagePattern = "caisseauto-stage-*.db"
	// stageYoung protects a file that was made but not locked yet.
	stageYoung = time.Minute
)

// A stage keeps rows between their reading and the moment when the lock is
// held: in memory first, then in a private SQLite file, which nobody else
// sees and which needs to survive nothing.
type stage struct {
	dir     string
	page    int64 // page size of the file: that of the database it serves, see file
	limits  applyLimits
	headers []*change.Header
	chunk   stageRecord // being filled
	memory  []stageRecord
	size    int // bytes in memory
	rows    int64
	keys    map[string]struct{}

	path           string // of the file, once there is one
	db             *sqlite3.Conn
	put, mark, has *sqlite3.Stmt

	get   *sqlite3.Stmt // reading
	next  int
	block change.Block
}

// A stageRecord is some rows under one header.
type stageRecord struct {
	header int
	rows   int
	data   []byte
}

func newStage(dir string, page int64, limits applyLimits) *stage {
	return &stage{dir: dir, page: page, limits: limits, keys: map[string]struct{}{}}
}

// add keeps a row. The last header used is compared by its address.
func (s *stage) add(h *change.Header, row []change.Value) error {
	if n := len(s.headers); n == 0 || s.headers[n-1] != h || len(s.chunk.data) >= stageChunk || s.chunk.rows >= change.BlockRows {
		if err := s.flush(); err != nil {
			return err
		}
		if n == 0 || s.headers[n-1] != h {
			s.headers = append(s.headers, h)
		}
		s.chunk.header = len(s.headers) - 1
	}
	s.chunk.data = appendRow(s.chunk.data, row)
	s.chunk.rows++
	s.rows++
	return nil
}

// flush ends the record that is being filled.
func (s *stage) flush() error {
	if s.chunk.rows == 0 {
		return nil
	}
	defer func() { s.chunk.rows, s.chunk.data = 0, s.chunk.data[:0] }()
	if s.db == nil && s.size+len(s.chunk.data) <= s.limits.stageBytes {
		rec := s.chunk
		rec.data = append([]byte(nil), rec.data...)
		s.memory = append(s.memory, rec)
		s.size += len(rec.data)
		return nil
	}
	if err := s.file(); err != nil {
		return err
	}
	return s.write(s.chunk)
}

func (s *stage) write(rec stageRecord) error {
	row := [3]change.Value{
		{Kind: change.Integer, Int: int64(rec.header)},
		{Kind: change.Integer, Int: int64(rec.rows)},
		{Kind: change.Blob, Bytes: rec.data},
	}
	if err := s.put.BindRow(row[:]); err != nil {
		return err
	}
	_, err := s.put.Step()
	return s.explain(err)
}

// explain adds the file's name to an error of it.
func (s *stage) explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("stage file in %s: %w", s.dir, err)
}

// file makes the stage's file and moves there what is in memory.
func (s *stage) file() error {
	if s.db != nil {
		return nil
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("making the folder of stage files: %w", err)
	}
	sweepStages(s.dir)
	// CreateTemp makes the file new and with mode 0600.
	f, err := os.CreateTemp(s.dir, stagePattern)
	if err != nil {
		return fmt.Errorf("making a stage file: %w", err)
	}
	s.path = f.Name()
	if err := f.Close(); err != nil {
		return err
	}
	if s.db, err = sqlite3.Open(s.path, sqlite3.ReadWrite); err != nil {
		return err
	}
	// No journal and no sync: the file is worth nothing after a crash. The
	// lock that is held until the end tells a sweeper that we are alive. This
	// build of SQLite recycles the pages of all connections alike (pcache1.c,
	// mode 2): with larger pages than the main database's, each small one
	// that is recycled makes room for a large one, and memory grows.
	err = s.db.Exec(fmt.Sprintf("PRAGMA page_size=%d;", s.page) + `PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE;
		PRAGMA cache_size=-2048; PRAGMA temp_store=MEMORY; BEGIN EXCLUSIVE;
		CREATE TABLE record(id INTEGER PRIMARY KEY, header INTEGER, rows INTEGER, data BLOB);
		CREATE TABLE key(k BLOB PRIMARY KEY) WITHOUT ROWID;`)
	if err != nil {
		return s.explain(err)
	}
	for stmt, sql := range map[**sqlite3.Stmt]string{
		&s.put:  "INSERT INTO record(header, rows, data) VALUES(?,?,?)",
		&s.mark: "INSERT OR IGNORE INTO key VALUES(?)",
		&s.has:  "SELECT 1 FROM key WHERE k=?",
		&s.get:  "SELECT header, rows, data FROM record WHERE id>? ORDER BY id",
	} {
		if *stmt, err = s.db.Prepare(sql); err != nil {
			return s.explain(err)
		}
	}
	for _, rec := range s.memory {
		if err := s.write(rec); err != nil {
			return err
		}
	}
	s.memory, s.size = nil, 0
	return nil
}

// remember keeps a key; it reports whether it is new.
func (s *stage) remember(key []byte) (bool, error) {
	if s.keys != nil {
		if _, old := s.keys[string(key)]; old {
			return false, nil
		}
		if len(s.keys) < s.limits.stageKeys {
			s.keys[string(key)] = struct{}{}
			return true, nil
		}
		if err := s.moveKeys(); err != nil {
			return false, err
		}
	}
	err := s.mark.BindArgs(key)
	if err == nil {
		_, err = s.mark.Step()
	}
	return err == nil && s.db.Changes() > 0, s.explain(err)
}

// moveKeys moves the remembered keys into the file.
func (s *stage) moveKeys() error {
	if err := s.file(); err != nil {
		return err
	}
	for k := range s.keys {
		if err := s.mark.BindArgs([]byte(k)); err != nil {
			return err
		}
		if _, err := s.mark.Step(); err != nil {
			return s.explain(err)
		}
	}
	s.keys = nil
	return nil
}

// remembers reports whether a key was kept.
func (s *stage) remembers(key []byte) (bool, error) {
	if s.keys != nil {
		_, ok := s.keys[string(key)]
		return ok, nil
	}
	if err := s.has.BindArgs(key); err != nil {
		return false, err
	}
	ok, err := s.has.Step()
	s.has.Reset()
	return ok, s.explain(err)
}

// rewind ends the writing; Next then returns the rows.
func (s *stage) rewind() error {
	if err := s.flush(); err != nil {
		return err
	}
	s.next = 0
	if s.db != nil {
		return s.explain(s.get.BindArgs(0))
	}
	return nil
}

// Next returns the next rows; it is a [change.BlockReader].
func (s *stage) Next() (*change.Block, error) {
	var rec stageRecord
	if s.db == nil {
		if s.next >= len(s.memory) {
			return nil, io.EOF
		}
		rec = s.memory[s.next]
	} else {
		ok, err := s.get.Step()
		if err != nil {
			return nil, s.explain(err)
		}
		if !ok {
			return nil, io.EOF
		}
		rec = stageRecord{header: int(s.get.Int(0)), rows: int(s.get.Int(1)), data: s.get.Bytes(2)}
	}
	s.next++
	s.block.Header = s.headers[rec.header]
	s.block.Values = s.block.Values[:0]
	buf, n := rec.data, len(s.block.Header.Columns)
	var err error
	for range rec.rows {
		if s.block.Values, buf, err = decodeRow(s.block.Values, buf, n); err != nil {
			return nil, err
		}
	}
	return &s.block, nil
}

// close removes the stage.
func (s *stage) close() {
	for _, stmt := range []*sqlite3.Stmt{s.put, s.mark, s.has, s.get} {
		if stmt != nil {
			_ = stmt.Close()
		}
	}
	if s.db != nil {
		_ = s.db.Close()
	}
	if s.path != "" {
		_ = os.Remove(s.path) // what cannot be removed now is swept later
	}
	s.memory, s.keys = nil, nil
}

// sweepStages removes the stage files of processes that were killed. A file
// whose lock is held belongs to one that is alive.
func sweepStages(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if ok, _ := filepath.Match(stagePattern, e.Name()); !ok || !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) >= stageYoung && !stageAlive(path) {
			_ = os.Remove(path)
		}
	}
}

func stageAlive(path string) bool {
	c, err := sqlite3.Open(path, sqlite3.ReadWrite)
	if err != nil {
		return !errors.Is(err, os.ErrNotExist)
	}
	defer c.Close()
	c.BusyTimeout(0)
	err = c.Exec("BEGIN EXCLUSIVE")
	return sqlite3.IsBusy(err) // any other error: a file that was cut off
}
